// SPDX-License-Identifier: Apache-2.0
// Memory regions: what the program wants left out of its snapshots, and rebuilds by itself.
//
// What this file knows
//   libcrs's side of the table in gate/memory_table.h: it lies in a mapping of its own, grows by being
//   copied, and each change of it is one store, so that a process that is frozen at any moment shows a table
//   that is whole. A forked child has its parent's rows; its page leads to its own copy of the table
//   (critical_sections.cc). The first row with a function that rebuilds makes the thread that calls hooks.
//   That thread reads the table without the mutex: in a restored process somebody may hold it who does not
//   run yet.
//
// Kernel interfaces: mmap(2), dl_iterate_phdr(3).
#pragma once

#include <crs/crs.h>

#include <cstddef>
#include <cstdint>

#include "gate/control_page.h"
#include "os/result.h"

namespace crs::agent::memory {

// All are thread-safe; join() was called.

// Answers the region's id, which is never used again. errors: usage, refused (too many), kernel.
Result<std::uint64_t> exclude(const char* label, const void* pointer, std::size_t bytes,
                              crs_memory_rebuild rebuild, void* context);
Result<std::uint64_t> include(const char* label, const void* pointer, std::size_t bytes);
Status forget(std::uint64_t id);  // errors: usage (no such region)
void forget_all();

// In a forked child: makes the thread where regions are to be rebuilt and nobody could.
Status arm();

// In a restored process, by the thread that calls hooks, before any other goes on: calls the functions that
// rebuild, in the order of the regions. The turn that comes next: `after_rebuild`, or refused, with a
// message, by the first that fails.
Turn rebuild(ControlPage& page);

}  // namespace crs::agent::memory
