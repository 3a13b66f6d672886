// SPDX-License-Identifier: Apache-2.0
// Where save points are: snapshots in memory, which end with the process.
//
// What this file knows
//   Each process has a folder of its own, named after its pid namespace, its number and its start, below one
//   that only its user can enter: /dev/shm/crs-UID, or $XDG_RUNTIME_DIR/crs-savepoints. A process that ends
//   normally removes it. What one left that was killed, the next one of the same user and pid namespace
//   removes. Save points are numbered upwards; when the process goes back to one, its memory knows nothing of
//   the younger ones.
// What it leaves to others
//   Making and restoring them: they are ordinary snapshots.
//
// Kernel interfaces: shm_overview(7), proc(5) stat.
#pragma once

#include <string>

#include "os/result.h"

namespace crs::agent {

// The path of the next one, which does not exist yet. The first one has the folder removed when the process
// ends by exit(3). errors: storage.
Result<std::string> next_savepoint();

// The process has gone back to this one: removes the younger ones, and what was kept of cut files.
void forget_younger_savepoints(const std::string& path);

// errors: storage.
Status remove_savepoint(const std::string& path);

}  // namespace crs::agent
