// SPDX-License-Identifier: Apache-2.0
// Interrupt: SIGINT, SIGTERM and SIGHUP while a command works, so that it can stop cleanly.
#pragma once

#include <atomic>

namespace crs {

// While it lives the first such signal sets a flag; a second one has its default effect. Only one at a time,
// in main's thread. Signals that were ignored when crs started (nohup) stay ignored.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();  // the former actions again
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  int signal() const;  // 0: none came
  // For a Deadline that also passes when a signal came.
  const std::atomic<bool>& flag() const;
};

// Ends this process by the signal, as if it had never been caught, so that shells see it; without a core
// file. Returns 128 + signal if even that fails.
int die_of(int signal);

}  // namespace crs
