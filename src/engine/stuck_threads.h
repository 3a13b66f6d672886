// SPDX-License-Identifier: Apache-2.0
// Stuck threads: whether a process can be stopped at all, found out before any thread of it is.
//
// What this file knows
//   A thread in an uninterruptible wait (state D: a disk or network file system that does not answer, the
//   parent of vfork(2)) stops only when that wait is over. Were the others stopped first, the program would
//   stand still for as long. So it is waited for while all run on, up to the time limit. A thread that is
//   seen in D again and again but has been switched in between is only busy with its disk. Processes in a
//   frozen control group do not run, and do not make the calls that we ask of them, until somebody thaws the
//   group. /proc/PID/cgroup names the group; freezer.state (v1) and cgroup.events (v2) tell whether it is
//   frozen.
//
// Kernel interfaces: proc(5), cgroups(7), admin-guide/cgroup-v1/freezer-subsystem.rst,
// admin-guide/cgroup-v2.rst.
#pragma once

#include "os/deadline.h"
#include "os/ids.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

// errors: refused (a frozen control group), timeout (a thread in state D, named with what it waits in).
Status await_stoppable(Pid pid, const ProcDir& proc, Deadline deadline);

// What to say of a thread that does not stop.
Error does_not_stop(Tid tid);

}  // namespace crs
