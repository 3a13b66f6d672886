// CallBatch: a list of system calls to be made inside another process, with the memory they need.
//
// What this file knows
//   A batch is position-independent until it runs: arguments may be buffers of the batch itself, and one
//   buffer may hold the address of another (pointer fields of structures). Its image is an array of 64-byte
//   entries {nr, a1..a6, result} followed by the buffers; the loop in remote_calls.cc walks the array.
// What it leaves to others
//   Getting the image into a process and the loop to run: remote_calls.h.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "os/file_io.h"
#include "os/ids.h"
#include "os/result.h"

namespace crs {

class CallBatch {
 public:
  struct Buffer {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;  // bytes
  };
  struct CallId {
    std::size_t v = 0;
  };
  // What a system call may get: an integer (sign-extended as C does), a remote address or descriptor, a
  // buffer.
  class Arg {
   public:
    Arg() : value_(0), is_buffer_(false) {}
    template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>) Arg(T value)  // NOLINT: implicit
        : value_(static_cast<std::uint64_t>(static_cast<std::int64_t>(value))), is_buffer_(false) {}
    Arg(std::nullptr_t) : Arg() {}                                     // NOLINT: implicit
    Arg(RemoteAddr address) : value_(address.v), is_buffer_(false) {}  // NOLINT: implicit
    Arg(RemoteFd fd) : Arg(fd.v) {}                                    // NOLINT: implicit
    Arg(NsPid pid) : Arg(pid.v) {}                                     // NOLINT: implicit
    Arg(Buffer buffer) : value_(buffer.offset), is_buffer_(true) {}    // NOLINT: implicit

   private:
    friend class CallBatch;
    std::uint64_t value_;
    bool is_buffer_;
  };

  // Memory that the calls fill; read it with bytes() or value() after the run.
  Buffer out(std::size_t size);
  // Memory that the calls read.
  Buffer in(std::span<const std::byte> data);
  template <class T>
  requires std::is_trivially_copyable_v<T> Buffer in_value(const T& value) {
    return in(std::as_bytes(std::span(&value, 1)));
  }
  Buffer in_string(std::string_view text);  // NUL added
  // Puts the address that `target` will have into `holder` at `offset` bytes: for pointer fields.
  void point(Buffer holder, std::size_t offset, Buffer target);

  // A call that must succeed: run() turns a failure into an error that says `what`.
  CallId call(std::string what, long number, Arg a1 = {}, Arg a2 = {}, Arg a3 = {}, Arg a4 = {}, Arg a5 = {},
              Arg a6 = {});
  // A call whose result the caller looks at.
  CallId try_call(long number, Arg a1 = {}, Arg a2 = {}, Arg a3 = {}, Arg a4 = {}, Arg a5 = {}, Arg a6 = {});

  bool empty() const { return calls_.empty(); }
  std::size_t size() const { return calls_.size(); }

  // --- After the run.
  // What the kernel returned: a negative errno on failure.
  std::int64_t result(CallId call) const { return calls_[call.v].result; }
  std::span<const std::byte> bytes(Buffer buffer) const {
    return std::span(data_).subspan(buffer.offset, buffer.size);
  }
  template <class T>
  requires std::is_trivially_copyable_v<T> T value(Buffer buffer)
  const {
    T value{};
    std::memcpy(&value, data_.data() + buffer.offset, std::min(sizeof value, std::size_t{buffer.size}));
    return value;
  }

  // --- For whoever runs it.
  // One more call after all others, with which the batch tells that it is at its end.
  void set_ending(long number, std::array<std::uint64_t, 3> arguments) {
    ending_ = Ending{number, arguments};
  }
  void clear_ending() { ending_.reset(); }
  bool makes(long number) const {
    return std::ranges::any_of(calls_, [number](const Call& call) { return call.number == number; });
  }
  std::size_t entries() const { return calls_.size() + (ending_ ? 1 : 0); }
  std::size_t image_size() const;  // bytes, a multiple of 64
  Bytes image(RemoteAddr base) const;
  void absorb(std::span<const std::byte> image);  // what the process made of the image
  // The first call that had to succeed and did not, as an error.
  Status first_failure() const;

 private:
  struct Call {
    std::string what;
    bool required = false;
    long number = 0;
    Arg arguments[6];
    std::int64_t result = 0;
  };
  struct Pointer {
    std::uint32_t at = 0;
    std::uint32_t to = 0;
  };
  struct Ending {
    long number;
    std::array<std::uint64_t, 3> arguments;
  };
  std::size_t data_offset() const;
  CallId add(Call call);

  std::vector<Call> calls_;
  Bytes data_;
  std::vector<Pointer> pointers_;
  std::optional<Ending> ending_;
};

}  // namespace crs
