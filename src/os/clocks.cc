// SPDX-License-Identifier: Apache-2.0
#include "os/clocks.h"

#include <sched.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <string>

#include "os/file_io.h"

namespace crs {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;
#ifndef CLONE_NEWTIME
constexpr int CLONE_NEWTIME = 0x80;
#endif

std::chrono::nanoseconds read_clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// "monotonic -5 999": whole seconds, downwards, and what is to be added.
std::string line_of(const char* name, std::chrono::nanoseconds offset) {
  std::int64_t seconds = offset.count() / second_ns, rest = offset.count() % second_ns;
  if (rest < 0) {
    --seconds;
    rest += second_ns;
  }
  return std::string(name) + " " + std::to_string(seconds) + " " + std::to_string(rest) + "\n";
}

}  // namespace

SystemClocks read_clocks() {
  return {read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_BOOTTIME)};
}

Result<SystemClocks> clock_offsets(Pid pid) {
  const auto text = read_file("/proc/" + std::to_string(pid.v) + "/timens_offsets");
  if (!text) {
    if (text.error().code() == Errc::not_found) return SystemClocks{};
    return text.error();
  }
  long long monotonic_s = 0, monotonic_ns = 0, boottime_s = 0, boottime_ns = 0;
  if (std::sscanf(text->c_str(), "monotonic %lld %lld boottime %lld %lld",
                  &monotonic_s,  // NOLINT: fixed format
                  &monotonic_ns, &boottime_s, &boottime_ns) != 4)
    return Error(Errc::kernel, "the kernel tells the offsets of a time namespace in an unknown way");
  return SystemClocks{std::chrono::nanoseconds(monotonic_s * second_ns + monotonic_ns),
                      std::chrono::nanoseconds(boottime_s * second_ns + boottime_ns)};
}

Status shift_clocks_of_children(const SystemClocks& offsets) {
  if (unshare(CLONE_NEWTIME) != 0) return Error::from_errno(errno, "make a time namespace");
  return write_small_file("/proc/self/timens_offsets",
                          line_of("monotonic", offsets.monotonic) + line_of("boottime", offsets.boottime))
      .context("set the clocks of a time namespace");
}

}  // namespace crs
