// Result<T>: a value or the reason why there is none.
//
// What this file knows
//   Failure is an ordinary answer here: the target can die between any two of our lines. So errors are
//   values in the signature, `[[nodiscard]]`, and carry a code that the caller can act on, the errno,
//   one sentence, a hint ("what to do"), and the trail of steps that led there, outermost first.
//   Names follow std::expected, so this can become an alias when both compilers have it.
// What it leaves to others
//   How an error is shown (src/cli/report.cc) and which exit code it gets (exit_code() below is the table).
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace crs {

// What a caller can act on. Each maps to one documented exit code of the program.
enum class Errc : std::uint8_t {
  usage,         // the request itself is malformed
  not_found,     // no such process, job or snapshot
  permission,    // the kernel or the file system said no
  refused,       // something cannot be saved or restored; Blockers list what
  busy,          // someone else is at it: a tracer, another checkpoint, a pid that is taken
  timeout,       // the deadline passed
  bad_snapshot,  // truncated, corrupted, of a newer format, of another machine
  storage,       // disk full, unwritable store, I/O error
  target_gone,   // the process ended while we worked on it
  kernel,        // a system call failed in a way nobody expected
  unsupported,   // this kernel or component lacks what is needed
  bug,           // a broken invariant of ours
};

std::string_view to_string(Errc code);

// The documented, stable exit code: 2 usage, 3 not found, 4 permission, 5 refused, 6 busy, 7 time-out,
// 8 bad snapshot, 9 storage, 10 anything else.
int exit_code(Errc code);

// One thing that stands in the way of a checkpoint or a restart.
struct Blocker {
  std::string kind;    // who found it: the section of a kind of kernel object ("pipes")
  std::string object;  // "fd 7 (pipe:[4711])", "thread 42": what, with path
  std::string reason;  // why it cannot be saved or restored
  std::string remedy;  // what the user can do
};

class [[nodiscard]] Error {
 public:
  Error(Errc code, std::string message) : code_(code), message_(std::move(message)) {}

  // Wraps the errno of a system call that just failed: `what` names the call and its object. The code
  // follows the errno where that says enough (EPERM and EACCES: permission; ENOSPC, EDQUOT, EROFS, EIO:
  // storage), else it is `fallback`.
  static Error from_errno(int error_number, std::string what, Errc fallback = Errc::kernel);

  Errc code() const { return code_; }
  int error_number() const { return errno_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const std::vector<std::string>& trail() const { return trail_; }
  // What was refused, one by one; the message holds them as text.
  const std::vector<Blocker>& blockers() const { return blockers_; }

  // Adds the one fact that this layer alone knows, in front of the trail.
  Error& add_context(std::string step) {
    trail_.insert(trail_.begin(), std::move(step));
    return *this;
  }
  Error& set_hint(std::string hint) {
    hint_ = std::move(hint);
    return *this;
  }
  Error&& with_hint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }
  Error&& with_context(std::string step) && {
    add_context(std::move(step));
    return std::move(*this);
  }
  Error& set_code(Errc code) {
    code_ = code;
    return *this;
  }
  Error& set_blockers(std::vector<Blocker> blockers) {
    blockers_ = std::move(blockers);
    return *this;
  }
  Error& set_errno(int error_number) {
    errno_ = error_number;
    return *this;
  }

  // "checkpoint pid 42: eventfd: fd 7: no eventfd-count"
  std::string to_string() const;

 private:
  Errc code_;
  int errno_ = 0;
  std::string message_;
  std::string hint_;
  std::vector<std::string> trail_;
  std::vector<Blocker> blockers_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

  template <class U>
  T value_or(U&& fallback) && {
    return has_value() ? std::move(*this).value() : static_cast<T>(std::forward<U>(fallback));
  }

  // Adds a step to the trail if this is an error; `step` is a string or a callable that makes one, called
  // only on failure.
  template <class Step>
  Result&& context(Step&& step) && {
    if (!has_value()) error().add_context(make_step(std::forward<Step>(step)));
    return std::move(*this);
  }

 private:
  template <class Step>
  static std::string make_step(Step&& step) {
    if constexpr (std::is_invocable_v<Step>) {
      return step();
    } else {
      return std::string(std::forward<Step>(step));
    }
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit by design

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  void value() const { assert(has_value()); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return std::move(*error_); }

  template <class Step>
  Result&& context(Step&& step) && {
    if (error_) {
      if constexpr (std::is_invocable_v<Step>) {
        error_->add_context(step());
      } else {
        error_->add_context(std::string(std::forward<Step>(step)));
      }
    }
    return std::move(*this);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

inline Status ok() {
  return {};
}

#define CRS_CONCAT_INNER(a, b) a##b
#define CRS_CONCAT(a, b) CRS_CONCAT_INNER(a, b)

// CRS_TRY(auto thread, AttachedThread::seize(tid)): declares the value, or returns the error.
#define CRS_TRY(declaration, ...) \
  CRS_TRY_INNER(CRS_CONCAT(crs_result_, __COUNTER__), declaration, __VA_ARGS__)
#define CRS_TRY_INNER(result, declaration, ...)  \
  auto result = (__VA_ARGS__);                   \
  if (!result) return std::move(result).error(); \
  declaration = std::move(result).value()

// CRS_CHECK(call()): returns the error, if any.
#define CRS_CHECK(...)                                                                      \
  do {                                                                                      \
    if (auto crs_status = (__VA_ARGS__); !crs_status) return std::move(crs_status).error(); \
  } while (false)

}  // namespace crs
