// SPDX-License-Identifier: Apache-2.0
// Start program: a saved command line becomes a child of ours, for components that start programs anew.
//
// What this file knows
//   The words are passed to execve(2) as they are: no shell ever sees them. The child has the default signal
//   actions, nothing blocked, and the descriptors that the request asks for.
//
// Kernel interfaces: execve(2), dup2(2), signal(7).
#pragma once

#include <string>
#include <vector>

#include "os/ids.h"
#include "os/result.h"
#include "service/component.h"

namespace crs {

struct ProgramStart {
  std::string executable;  // a path
  std::string directory;   // absolute
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=VALUE
  int passed_fd = -1;                    // a descriptor that it inherits under this number; -1: none
};

// errors: with the errno of chdir(2) or execve(2); then no child is left.
Result<Pid> start_program(const ProgramStart& program, const RestartRequest& request);

}  // namespace crs
