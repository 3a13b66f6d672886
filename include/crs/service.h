// SPDX-License-Identifier: Apache-2.0
// The Checkpoint/Restart Service for C++ programs: what crs.h offers, with owners, one outcome, and no
// exceptions.
//
// What this file knows
//   Header only, over the C interface alone, so that a program compiled with any C++ compiler and library
//   works with any libcrs of the same major version. C++17. Threads, signals and forks: as crs.h says.
#ifndef CRS_SERVICE_H
#define CRS_SERVICE_H

#include <crs/crs.h>

#include <cstdint>
#include <string>
#include <utility>

namespace crs::api {

// What went wrong, or nothing.
class Error {
 public:
  Error() = default;
  explicit Error(const crs_error& error)
      : code_(static_cast<crs_result>(error.code)),
        error_number_(error.error_number),
        phase_(error.phase),
        message_(error.message),
        hint_(error.hint) {}

  explicit operator bool() const { return code_ != CRS_SUCCESS; }
  crs_result code() const { return code_; }
  int error_number() const { return error_number_; }  // errno, or 0
  const std::string& phase() const { return phase_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

 private:
  crs_result code_ = CRS_SUCCESS;
  int error_number_ = 0;
  std::string phase_, message_, hint_;
};

inline Error last_error(int result) {
  return result == CRS_SUCCESS ? Error() : Error(*crs_last_error());
}

// The process takes part as long as one of these lives. error() tells whether it does.
class Participation {
 public:
  Participation() : error_(last_error(crs_init())) {}
  Participation(const Participation&) = delete;
  Participation& operator=(const Participation&) = delete;
  ~Participation() {
    if (!error_) crs_finalize();
  }
  const Error& error() const { return error_; }

 private:
  Error error_;
};

// No checkpoint of this process is made while it lives. `label` must outlive it.
class CriticalSection {
 public:
  explicit CriticalSection(const char* label = nullptr)
      : entered_(crs_disable_checkpoint_as(label) == CRS_SUCCESS) {}
  CriticalSection(const CriticalSection&) = delete;
  CriticalSection& operator=(const CriticalSection&) = delete;
  ~CriticalSection() {
    if (entered_) crs_enable_checkpoint();
  }

 private:
  bool entered_;
};

class Snapshot {
 public:
  Snapshot() { crs_snapshot_create(&handle_); }
  explicit Snapshot(crs_snapshot* handle) : handle_(handle) {}  // takes it over
  Snapshot(Snapshot&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Snapshot& operator=(Snapshot&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Snapshot() { crs_snapshot_free(handle_); }

  // One on disk: the path of its directory, JOB or JOB@N.
  static Error open(const std::string& name, Snapshot& into) {
    crs_snapshot* handle = nullptr;
    Error error = last_error(crs_snapshot_open(name.c_str(), &handle));
    if (!error) into = Snapshot(handle);
    return error;
  }

  Error set_directory(const std::string& path) {
    return last_error(crs_snapshot_set_directory(handle_, path.c_str()));
  }
  Error set_job(const std::string& job, const std::string& store = {}) {
    return last_error(crs_snapshot_set_job(handle_, store.empty() ? nullptr : store.c_str(), job.c_str()));
  }

  // For the program that a restart of this handle brings back.
  Error set_variable(const std::string& name, const std::string& value) {
    return last_error(crs_snapshot_set_variable(handle_, name.c_str(), value.c_str()));
  }

  std::string directory() const { return crs_snapshot_directory(handle_); }
  std::string component() const { return crs_snapshot_component_name(handle_); }
  std::string job() const { return crs_snapshot_job(handle_); }
  std::uint64_t generation() const { return crs_snapshot_generation(handle_); }
  pid_t pid() const { return crs_snapshot_pid(handle_); }
  bool cold_start() const { return crs_snapshot_cold_start(handle_); }
  crs_snapshot* handle() const { return handle_; }  // borrowed

 private:
  crs_snapshot* handle_ = nullptr;
};

// How a checkpoint ended: in exactly one of these ways.
class Outcome {
 public:
  Outcome(crs_state state, Error error) : state_(state), error_(std::move(error)) {}
  bool continued() const { return state_ == CRS_CONTINUE; }  // the original goes on
  bool restarted() const { return state_ == CRS_RESTART; }   // this is a process that was brought back
  bool ended() const { return state_ == CRS_TERM; }          // the other process was, as asked
  const Error& error() const { return error_; }
  crs_state state() const { return state_; }

 private:
  crs_state state_;
  Error error_;
};

// A state of this process in memory that it can go back to; released with the object.
class SavePoint {
 public:
  SavePoint() = default;
  SavePoint(SavePoint&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  SavePoint& operator=(SavePoint&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~SavePoint() { release(); }

  // Returns twice: continued(), and restarted() each time the process went back to it. One that `into` held
  // before is released.
  static Outcome create(SavePoint& into) {
    crs_state state = CRS_ERROR;
    crs_savepoint* handle = nullptr;
    Error error = last_error(crs_savepoint_create(&handle, &state));
    if (!error) {
      into.release();
      into.handle_ = handle;
    }
    return Outcome(state, std::move(error));
  }
  // Returns only with an error.
  Error rollback() { return last_error(crs_savepoint_rollback(handle_)); }
  Error release() { return last_error(crs_savepoint_release(std::exchange(handle_, nullptr))); }

 private:
  crs_savepoint* handle_ = nullptr;
};

// A service with parameters and states of its own. One thread at a time.
class Service {
 public:
  Service() { crs_service_create(&handle_); }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() { crs_service_destroy(handle_); }

  Error set_parameter(const std::string& name, const std::string& value) {
    return last_error(crs_service_set_parameter(handle_, name.c_str(), value.c_str()));
  }
  // `pid` 0: this process, which then returns from here twice (crs_checkpoint in crs.h).
  Outcome checkpoint(pid_t pid, Snapshot& snapshot,
                     const crs_checkpoint_options& options = CRS_CHECKPOINT_OPTIONS_INIT) {
    crs_state state = CRS_ERROR;
    Error error = last_error(crs_service_checkpoint(handle_, pid, snapshot.handle(), &options, &state));
    return Outcome(state, std::move(error));
  }
  // As a child of the caller, whose pid is put into `child`.
  Error restart(const Snapshot& snapshot, pid_t& child) {
    return last_error(crs_service_restart(handle_, snapshot.handle(), true, &child));
  }
  // This process goes back to a snapshot of its own (crs_rollback in crs.h): returns only with an error.
  Error rollback(const Snapshot& snapshot) {
    return last_error(crs_service_rollback(handle_, snapshot.handle()));
  }
  // In place of this process: returns only with an error.
  Error become(const Snapshot& snapshot) {
    return last_error(crs_service_restart(handle_, snapshot.handle(), false, nullptr));
  }
  crs_state state() const { return crs_service_state(handle_, nullptr, nullptr); }
  crs_service* handle() const { return handle_; }  // borrowed

 private:
  crs_service* handle_ = nullptr;
};

}  // namespace crs::api

#endif  // CRS_SERVICE_H
