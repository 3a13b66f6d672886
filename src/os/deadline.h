// Deadline: one point in time over a whole operation, on the monotonic clock.
#pragma once

#include <atomic>
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

  // The same; where it had no end it passes after `span`.
  Deadline or_after(std::chrono::nanoseconds span) const {
    Deadline limited = *this;
    if (!at_) limited.at_ = after(span).at_;
    return limited;
  }

  // It has also passed once `flag` is true: a cancelled operation ends the same way as one that took too
  // long. The flag must outlive all copies.
  void also_when(const std::atomic<bool>& flag) { cancelled_ = &flag; }
  bool cancelled() const { return cancelled_ != nullptr && cancelled_->load(); }

  bool passed() const { return cancelled() || (at_ && Clock::now() >= *at_); }
  // What is left, never negative; nullopt: without end.
  std::optional<std::chrono::nanoseconds> left() const {
    if (cancelled()) return std::chrono::nanoseconds(0);
    if (!at_) return std::nullopt;
    auto rest = *at_ - Clock::now();
    return rest.count() > 0 ? std::chrono::duration_cast<std::chrono::nanoseconds>(rest)
                            : std::chrono::nanoseconds(0);
  }
  // The error to return once it has passed; `what` says what was still being done.
  Status check(std::string_view what) const;

 private:
  std::optional<Clock::time_point> at_;
  const std::atomic<bool>* cancelled_ = nullptr;
};

}  // namespace crs
