// SPDX-License-Identifier: Apache-2.0
// Obstacles: why a name that /proc tells leads nowhere, where the reason is not that it is gone.
//
// What this file knows
//   A file that is not found under its name was mostly deleted, renamed or replaced. But the name may also
//   lie in a directory that we may not search, or be longer than open(2) takes (/proc/PID/maps tells longer
//   ones): then nobody removed anything, and another remedy helps.
//
// Kernel interfaces: stat(2), path_resolution(7).
#pragma once

#include <optional>
#include <string>

namespace crs {

struct Obstacle {
  std::string reason;
  std::string remedy;
};
// nullopt: the name leads to something, or nothing has it.
std::optional<Obstacle> find_obstacle(const std::string& name);

// The kernel tells no link of so many bytes (ENAMETOOLONG), and opens none.
Obstacle too_long_a_name();

}  // namespace crs
