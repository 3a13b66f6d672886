// SPDX-License-Identifier: Apache-2.0
// Executables: which file a process executes, and what the kernel and the loader will make of one.
//
// Kernel interfaces: proc(5) exe, stat(2), elf(5).
#pragma once

#include <optional>
#include <string>

#include "os/ids.h"
#include "os/result.h"

namespace crs {

// Whether the process executes the file that has this name now.
bool executes_same_file(Pid pid, const std::string& path);

// The program interpreter (PT_INTERP) of a 64-bit program; nullopt: it has none, or is no such program.
std::optional<std::string> interpreter_of(const std::string& path);

// Whether executing it gives other credentials than the caller's: set-user-id, set-group-id, capabilities.
bool changes_credentials(const std::string& path);

}  // namespace crs
