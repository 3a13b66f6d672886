// SPDX-License-Identifier: Apache-2.0
// Pending queues: signals sent to a frozen process and not yet delivered.
//
// What this file knows
//   One queue belongs to the process and one to each thread; PTRACE_PEEKSIGINFO reads both without taking
//   anything out. A signal that found no memory for a queue entry (or went over RLIMIT_SIGPENDING) is only a
//   bit in SigPnd or ShdPnd of /proc/PID/status; the kernel delivers it as SI_USER from pid 0, and so it is
//   listed here.
//
// Kernel interfaces: ptrace(2), proc(5).
#pragma once

#include <signal.h>

#include <map>
#include <vector>

#include "engine/frozen_process.h"
#include "os/ids.h"
#include "os/result.h"

namespace crs {

struct PendingQueues {
  std::vector<siginfo_t> shared;                   // each in the order of delivery
  std::map<NsPid, std::vector<siginfo_t>> thread;  // those with signals
};

// Only the thread that froze the process may call this.
Result<PendingQueues> read_pending_queues(const FrozenProcess& process);

}  // namespace crs
