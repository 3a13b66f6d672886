// SPDX-License-Identifier: Apache-2.0
// Owned process: a half-made process that is ended unless it was let go, and the signals that wait meanwhile.
//
// Kernel interfaces: kill(2), waitpid(2), ptrace(2), pthread_sigmask(3).
#pragma once

#include <csignal>
#include <utility>

#include "os/ids.h"

namespace crs {

// Blocks all signals as long as it lives or for good, so that a forked copy starts with them blocked.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  ~BlockedSignals() {
    if (!kept_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  void keep() { kept_ = true; }

 private:
  bool kept_ = false;
  sigset_t before_{};
};

// Our child, or one that we trace. Killed and reaped unless it was let go; only by the thread that traces it.
class OwnedProcess {
 public:
  explicit OwnedProcess(Pid pid) : pid_(pid) {}
  OwnedProcess(const OwnedProcess&) = delete;
  OwnedProcess& operator=(const OwnedProcess&) = delete;
  ~OwnedProcess();
  Pid release() { return std::exchange(pid_, Pid(0)); }

 private:
  void reap() const;
  Pid pid_;
};

}  // namespace crs
