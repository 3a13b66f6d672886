// Deadline: one point in time over a whole operation, on the monotonic clock.
#pragma once

#include <chrono>
#include <optional>

#include "os/result.h"

namespace crs {

// Copied by value; thread-safe. A default-made deadline never passes.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;
  Deadline() = default;
  static Deadline never() { return {}; }
  static Deadline after(std::chrono::nanoseconds span) {
    Deadline deadline;
    deadline.at_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(span);
    return deadline;
  }

  bool passed() const { return at_ && Clock::now() >= *at_; }
  // What is left, never negative; nullopt: without end.
  std::optional<std::chrono::nanoseconds> left() const {
    if (!at_) return std::nullopt;
    auto rest = *at_ - Clock::now();
    return rest.count() > 0 ? std::chrono::duration_cast<std::chrono::nanoseconds>(rest)
                            : std::chrono::nanoseconds(0);
  }
  // The error to return once it has passed; `what` says what was still being done.
  Status check(std::string_view what) const;

 private:
  std::optional<Clock::time_point> at_;
};

}  // namespace crs
