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

  // From a section that holds the first four.
  template <class Section>
  static ProgramStart of(const Section& section) {
    return {.executable = section.executable(),
            .directory = section.directory(),
            .arguments = {section.arguments().begin(), section.arguments().end()},
            .environment = {section.environment().begin(), section.environment().end()}};
  }
  // errors: bad_snapshot, naming the section.
  Status check(const std::string& section) const;
};

// errors: unsupported, for what only a restored process can have.
Status check_starts_anew(const std::string& component, const RestartRequest& request);

// errors: with the errno of chdir(2) or execve(2); then no child is left.
Result<RestartInfo> start_program(const ProgramStart& program, const RestartRequest& request);

}  // namespace crs
