// SPDX-License-Identifier: Apache-2.0
// Hooks: functions of the host program that are called around a checkpoint and after a restart.
//
// What this file knows
//   A thread of ours, made with the first hook, blocks all signals and waits for its turn in the control page
//   (gate/control_page.h). It calls the hooks, and nobody else does. Getting ready goes from the lowest order
//   to the highest, all else the other way round. When one says no or not yet, those that had got ready
//   before it are told of the failure. When a checkpointer ends without a word the same is done without being
//   asked. A session is the same with the process itself as the one who asks. fork(2) copies the hooks but
//   not the thread: arm() makes a new one.
// What it leaves to others
//   What a checkpointer does (gate/hook_turns.h).
//
// Kernel interfaces: futex(2), flock(2).
#pragma once

#include <crs/crs.h>

#include <cstdint>

#include "os/deadline.h"
#include "os/result.h"

namespace crs::agent {

// All are thread-safe; join() was called.

// Registers a hook; its id is never used again. errors: usage, kernel.
Result<std::uint64_t> add_hook(const char* name, int order, crs_hook_function function, void* context);
// Not while a checkpoint is under way: it is waited for. errors: usage (no such hook; called by a hook).
Status remove_hook(std::uint64_t id);
Status remove_all_hooks();
// Makes the thread where there are hooks and none runs them: in a forked child.
Status arm();
bool is_in_hook();  // this thread is calling one
// Whether the thread is wanted for memory that it rebuilds after a restart, hooks or not.
Status keep_thread(bool wanted);
// A hook that was not ready is.
void hooks_are_ready();
// Until what was asked of the hooks is done, and no longer than a checkpointer is prepared for.
void await_hooks();

// A session of the process itself: all hooks get ready, and stay so until end_session() or until `lifetime`,
// in nanoseconds, has passed (0: never), or until the calling thread has ended. errors: busy (there is one,
// or a checkpoint is being made), refused, timeout.
Result<std::uint32_t> begin_session(std::uint64_t lifetime);
// errors: usage (no such session), timeout (it had ended by itself).
Status end_session(std::uint32_t token);

}  // namespace crs::agent
