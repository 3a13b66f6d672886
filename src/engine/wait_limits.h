// SPDX-License-Identifier: Apache-2.0
// Wait limits: what is left of the time limit of a call in which a freeze finds a thread.
//
// What this file knows
//   A relative limit (poll's milliseconds, the timespec of nanosleep or of a futex wait) says how long the
//   wait was to last, not how long it has lasted; the kernel keeps the end where nobody can read it. But a
//   sleeping thread has not run since it fell asleep, and when it last ran is told by se.exec_start in
//   /proc/PID/task/TID/sched (kernels with CONFIG_SCHED_DEBUG). That clock, rq_clock_task of the CPU it ran
//   on, leaves out what interrupts and the hypervisor took: it is compared with our own on the same CPU, and
//   can only be late, so that a limit is never cut too short. Without the file nothing is known, and the
//   whole time is waited again. The thread must really have slept from the look to the stop: it was off its
//   CPU before and after exec_start was read (/proc/PID/task/TID/syscall tells only then), has gone to sleep
//   once more since, which is our own stop, and has used no more time on a CPU than it takes to stop.
//   nanosleep(2) with a second argument needs none of this: the kernel writes the rest there at each
//   interruption. Limits of CPU clocks are not measured in time that passes; absolute ones need no help.
//   select(2) and its like need none of this: the kernel writes the rest over the limit. What epoll_wait(2)
//   still has to wait takes the place of its limit in r10 where the code behind the call does not look
//   (dead_register.h); epoll_pwait2 becomes an epoll_pwait with the rest in milliseconds. rt_sigtimedwait
//   gets another limit as it begins anew (shortened_waits.h). Other calls that answer a stop with EINTR begin
//   their whole time again: semtimedop, and ppoll and pselect with a limit in memory that is only read. A
//   wait that was interrupted before counts from then, unless whoever did so left a note (wait_notes.h).
//
// Kernel interfaces: proc(5), kernel/sched/debug.c, kernel/time/hrtimer.c, fs/select.c,
// kernel/futex/waitwake.c.
#pragma once

#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include "engine/interrupted_calls.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

using Nanoseconds = std::chrono::nanoseconds;

enum class LimitForm : std::uint8_t { milliseconds, timespec };

struct WaitLimit {
  LimitForm form = LimitForm::timespec;
  int argument = 0;                 // which argument of the call holds it (or its address), from 0
  Nanoseconds whole{};              // as the call was given it
  bool passes = true;               // time that passes counts (no CPU clock)
  std::optional<Nanoseconds> rest;  // what the kernel itself wrote down as left
};

// The relative limit of call `number` with the arguments in `registers`; nullopt where it has none.
std::optional<WaitLimit> find_limit(std::uint64_t number, const user_regs_struct& registers,
                                    const MemoryReader& read);

// As poll and epoll_wait are given a time: never shorter than it is.
std::uint64_t whole_milliseconds(Nanoseconds time);

// Argument 0 to 5 of a system call.
unsigned long long& argument_of(user_regs_struct& registers, int argument);

// A thread that is asleep in a call with a limit, before it is stopped.
struct Sleep {
  Nanoseconds since{};            // CLOCK_MONOTONIC; not before it fell asleep
  std::uint64_t times_slept = 0;  // its voluntary switches
  Nanoseconds cpu_time{};
  Sleeping where = Sleeping::elsewhere;  // looked up for waits that were interrupted before
};

// Looks at threads before they are stopped.
class SleepWatch {
 public:
  // nullopt unless the thread is certainly asleep in a call that may have a limit, and the kernel tells since
  // when. Costs a read of /proc; three more, and a moment on the thread's CPU, where there may be a limit.
  std::optional<Sleep> look_at(const ProcDir& task);

 private:
  // What to add to exec_start on that CPU for CLOCK_MONOTONIC.
  std::optional<Nanoseconds> offset_of(int cpu);
  std::map<int, std::optional<Nanoseconds>> offsets_;
};

// Whether the thread, now stopped, slept until it was stopped.
bool slept_until_the_stop(const Sleep& sleep, const ProcDir& task);

// What was left of the limit at `stopped` (CLOCK_MONOTONIC). At least 0.
Nanoseconds left_of(const WaitLimit& limit, const std::optional<Sleep>& sleep, Nanoseconds stopped);

Nanoseconds monotonic_now();

}  // namespace crs
