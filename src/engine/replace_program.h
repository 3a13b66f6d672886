// SPDX-License-Identifier: Apache-2.0
// Replace the program: another program is executed in a frozen process.
//
// What this file knows
//   execve(2) is called inside the process. It keeps number, parent, session, cgroups and standard streams;
//   other descriptors are marked close-on-exec before, and if it fails their marks are put back and the
//   process is as it was. All signals are blocked at the new program's start. The kernel shows as
//   /proc/PID/exe what was executed, and an ordinary user may not change that. So where the process's own
//   file is to be shown, that is executed, and stopped at its first instruction, which is the first of the
//   dynamic loader. The loader runs a program that it is given as an argument when it finds that it was
//   started as a program itself: AT_ENTRY in the auxiliary vector leads to it (glibc, rtld.c). That is set,
//   and so the new program comes under the old one's name. Both must have the same loader.
//
// Kernel interfaces: execve(2), close_range(2), fcntl(2), ptrace(2) PTRACE_EVENT_EXEC, getauxval(3).
#pragma once

#include <string>
#include <vector>

#include "engine/frozen_process.h"
#include "os/deadline.h"
#include "os/result.h"

namespace crs {

struct NewProgram {
  std::string path;                    // as the process finds it
  std::vector<std::string> arguments;  // with argv[0]
  std::vector<std::string> environment;
  std::string shown_as;  // the executable to be shown, see can_be_shown_as(); empty: itself
};

// Whether a process that executes `executable` can run `program` under its name.
bool can_be_shown_as(const std::string& executable, const std::string& program);

// On return the new program runs; on an error the process is as it was, and still frozen, but for
// Errc::target_gone: then it is gone.
Status replace_program(FrozenProcess& process, const NewProgram& program, Deadline deadline);

}  // namespace crs
