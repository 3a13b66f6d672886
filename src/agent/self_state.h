// SPDX-License-Identifier: Apache-2.0
// Self state: what the host program saves by itself, and takes up again (component self).
//
// What this file knows
//   A hook of ours, behind all others, calls the checkpoint callback and publishes the table
//   (gate/self_table.h) in the control page; it does so when the component that asks is self, or nobody is
//   told (a quiesce session). From then until POST_IMAGE or ERROR nothing that the table names goes away. On
//   a restart the state comes in a sealed memory file that the environment names, checked by crs.
//
// Kernel interfaces: dlsym(3), mmap(2), memfd_create(2).
#pragma once

#include <crs/crs.h>

#include <string>
#include <string_view>

#include "os/result.h"

namespace crs::agent::self {

// All are thread-safe; join() was called.
Status protect(const char* name, void* pointer, std::size_t bytes);
Status unprotect(const char* name);
Status set_callbacks(crs_self_callback checkpoint, crs_self_callback continue_, crs_self_callback restart,
                     void* context);
Status set_prefix(const char* prefix);
Status set_restart_command(const char* const* argv, const char* cwd, const char* const* env);
// In the checkpoint callback.
Status write(const char* name, const void* bytes, std::size_t size);
Result<std::string_view> read(const char* name);
Status restore(int& restarted);
// Where callbacks are found by their default names, or there was state before a fork.
Status arm();
void forget();  // with the hooks

}  // namespace crs::agent::self
