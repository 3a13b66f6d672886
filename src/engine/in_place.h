// SPDX-License-Identifier: Apache-2.0
// In place: what a process must have that is to become a saved one itself, and how it does.
//
// What this file knows
//   The process keeps its number, its parent, its session and its terminal. Its own number must be the saved
//   one. Its further threads get their saved numbers by clone3(2) with set_tid, which it calls itself, so it
//   needs the right to do that; so it does to change what /proc/PID/exe shows, unless that is right already.
//   It plays the forked copy of a restart, and a helper, made by a double fork so that it is nobody's child
//   here, is the tracer who finishes it. From the moment at which the helper has it the process dies with the
//   helper: it never runs half-made.
//
// Kernel interfaces: fork(2), ptrace(2), prctl(2) PR_SET_PTRACER (Yama).
#pragma once

#include "engine/blockers.h"
#include "engine/thread_table.h"
#include "os/ids.h"
#include "os/proc.h"
#include "os/result.h"
#include "store/manifest.h"

namespace crs {

// Adds what the process `pid` (ours, or one in whose name we ask) lacks. The rights asked for are those of
// the calling process. `has_executable`: it will execute the saved program's own file.
void check_place(const ThreadTable& threads, bool has_executable, Blockers& blockers);

// Whom the process has for children (zombies included), `except` left out; "" for none.
Result<std::string> children_of(const ProcDir& proc, Pid except);

}  // namespace crs
