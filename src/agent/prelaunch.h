// SPDX-License-Identifier: Apache-2.0
// Prelaunch: what can be done, and known, of a program before it is started.
//
// Kernel interfaces: execve(2), elf(5).
#pragma once

#include <cstdint>

#include "os/result.h"

namespace crs::agent {

// crs_prelaunch() of include/crs/crs.h. errors: usage, not_found, permission, refused.
Status prelaunch(std::int32_t rank, const char* store, char** app, char** cwd, char*** argv, char*** env);

}  // namespace crs::agent
