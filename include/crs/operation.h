// SPDX-License-Identifier: Apache-2.0
// crs/operation.h: checkpoints and restarts in the background, for C++ programs, over crs.h.
//
// Header only, C++17, so that nothing of a C++ runtime is in libcrs's interface. No exceptions are thrown.
// What crs.h says of operations holds here.
#ifndef CRS_OPERATION_H
#define CRS_OPERATION_H

#include <crs/service.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace crs::api {

// Cancelled by its destructor, which waits for the end. One thread at a time, but for cancel().
class Operation {
 public:
  struct Progress {
    std::string phase;  // "queued", ..., "ended"
    std::uint64_t done_bytes = 0, total_bytes = 0;
    std::string delayed;  // for whom it waits; empty: it does not
  };

  Operation() = default;
  Operation(Operation&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), child_(std::exchange(other.child_, 0)) {}
  Operation& operator=(Operation&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(child_, other.child_);
    return *this;
  }
  ~Operation() { crs_operation_free(handle_); }

  // Service and snapshot must not be touched until it has ended, and must outlive it.
  static Error checkpoint(Service& service, pid_t pid, Snapshot& snapshot, Operation& into,
                          const crs_checkpoint_options& options = CRS_CHECKPOINT_OPTIONS_INIT) {
    Operation started;
    Error error = last_error(
        crs_checkpoint_start(service.handle(), pid, snapshot.handle(), &options, &started.handle_));
    if (!error) into = std::move(started);
    return error;
  }
  static Error restart(Service& service, Snapshot& snapshot, Operation& into) {
    Operation started;
    Error error = last_error(crs_restart_start(service.handle(), snapshot.handle(), &started.handle_));
    if (!error) into = std::move(started);
    return error;
  }

  // How it ended; an error with code CRS_ERR_BUSY: it is still going on after so long.
  Outcome wait(std::chrono::nanoseconds limit = std::chrono::nanoseconds::max()) {
    crs_state state = CRS_ERROR;
    const bool endless = limit == std::chrono::nanoseconds::max();
    const auto span = limit.count() < 0 ? 0 : static_cast<std::uint64_t>(limit.count());
    Error error = last_error(crs_operation_wait(handle_, endless ? UINT64_MAX : span, &state, &child_));
    return Outcome(state, std::move(error));
  }
  pid_t child() const { return child_; }  // of a restart that wait() has seen end

  Progress progress() {
    crs_progress told{};
    told.size = sizeof told;
    if (crs_operation_progress(handle_, &told) != CRS_SUCCESS) return {};
    return {told.phase, told.done_bytes, told.total_bytes, told.delayed};
  }
  int fd() const { return crs_operation_fd(handle_); }  // readable when it has ended; to be looked at only
  Error cancel() { return last_error(crs_operation_cancel(handle_)); }

 private:
  crs_operation* handle_ = nullptr;
  pid_t child_ = 0;
};

}  // namespace crs::api

#endif  // CRS_OPERATION_H
