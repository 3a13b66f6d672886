// SPDX-License-Identifier: Apache-2.0
// Interrupt: signals that would end a command in the middle of its work, so that it can stop cleanly.
//
// What this file knows
//   People and terminals send SIGINT, SIGQUIT, SIGTERM and SIGHUP; batch systems warn a whole job of its end
//   by SIGUSR1, SIGUSR2, SIGXCPU or SIGALRM. A reader that went away (SIGPIPE) and a file that may not grow
//   (SIGXFSZ, `ulimit -f`) are errors of a write, with a name.
#pragma once

#include <atomic>

namespace crs {

// While it lives the first such signal sets a flag; a second one of it has its default effect. Only one at a
// time, in main's thread. Signals that were ignored when crs started (nohup) stay ignored.
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
