// SPDX-License-Identifier: Apache-2.0
// Inherited state: what a process keeps over execve(2) of the program that it was before.
//
// What this file knows
//   A forked copy of the restorer starts without most of it, and the kinds rely on that: they set what was
//   saved and leave the rest as it is. A process that is restarted in place had another life before. So what
//   no kind sets in every case is set back here: pending signals, interval timers, the CPUs it may use, its
//   NUMA policy, huge pages, merging of pages, I/O flushing, the memory failure policy, the time stamp
//   counter.
// What it leaves to others
//   What the kinds always set (umask, directory, limits, nice value, signal actions, death signal, subreaper,
//   ...), and what cannot be taken back (no_new_privs, lowered hard limits, dropped capabilities): the kinds
//   tell.
//
// Kernel interfaces: execve(2) "Effect on process attributes", prctl(2), setitimer(2), sched_setaffinity(2).
#pragma once

namespace crs {

// Of the calling process, whose only thread calls it with all signals blocked. What may not be set back
// stays.
void clear_inherited_state();

}  // namespace crs
