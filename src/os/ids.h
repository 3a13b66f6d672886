// Ids: different numbers have different types, so that a wrong order of arguments does not compile.
//
// What this file knows
//   None of these converts from or to an integer on its own; `.v` is the kernel's number.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace crs {

// A process id (tgid) in our own pid namespace.
struct Pid {
  pid_t v = 0;
  constexpr Pid() = default;
  constexpr explicit Pid(pid_t value) : v(value) {}
  auto operator<=>(const Pid&) const = default;
};

// A thread id in our own pid namespace.
struct Tid {
  pid_t v = 0;
  constexpr Tid() = default;
  constexpr explicit Tid(pid_t value) : v(value) {}
  auto operator<=>(const Tid&) const = default;
};

// A process or thread id as the target's own pid namespace sees it: what getpid(2) answers there.
struct NsPid {
  pid_t v = 0;
  constexpr NsPid() = default;
  constexpr explicit NsPid(pid_t value) : v(value) {}
  auto operator<=>(const NsPid&) const = default;
};

// An address in the target: meaningless here.
struct RemoteAddr {
  std::uint64_t v = 0;
  constexpr RemoteAddr() = default;
  constexpr explicit RemoteAddr(std::uint64_t value) : v(value) {}
  auto operator<=>(const RemoteAddr&) const = default;
  constexpr RemoteAddr operator+(std::uint64_t bytes) const { return RemoteAddr(v + bytes); }
  constexpr RemoteAddr operator-(std::uint64_t bytes) const { return RemoteAddr(v - bytes); }
  constexpr std::uint64_t operator-(RemoteAddr other) const { return v - other.v; }
};

// A descriptor number in the target: meaningless here.
struct RemoteFd {
  int v = -1;
  constexpr RemoteFd() = default;
  constexpr explicit RemoteFd(int value) : v(value) {}
  auto operator<=>(const RemoteFd&) const = default;
};

inline std::string to_string(Pid pid) {
  return "pid " + std::to_string(pid.v);
}
inline std::string to_string(Tid tid) {
  return "thread " + std::to_string(tid.v);
}
inline std::string to_string(NsPid pid) {
  return std::to_string(pid.v);
}
inline std::string to_string(RemoteFd fd) {
  return "fd " + std::to_string(fd.v);
}
std::string to_string(RemoteAddr address);  // "0x7f..."

inline constexpr std::uint64_t page_size = 4096;  // bytes; x86_64 has no other base page

constexpr std::uint64_t page_down(std::uint64_t value) {
  return value & ~(page_size - 1);
}
constexpr std::uint64_t page_up(std::uint64_t value) {
  return page_down(value + page_size - 1);
}

}  // namespace crs
