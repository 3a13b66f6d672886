// SPDX-License-Identifier: Apache-2.0
// Children of a thread, as the kernel lists them.
//
// Kernel interfaces: proc(5) /proc/PID/task/TID/children, since Linux 4.2 where CONFIG_PROC_CHILDREN is set.
#pragma once

#include <string>
#include <vector>

#include "os/ids.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

// Those whose parent is the thread with this directory (ProcDir::open_task). errors: not_found (also where
// the kernel lists no children).
Result<std::vector<Pid>> read_children(const ProcDir& task);

}  // namespace crs
