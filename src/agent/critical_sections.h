// SPDX-License-Identifier: Apache-2.0
// Critical sections: the participating process's side of the control page (gate/control_page.h).
//
// What this file knows
//   One page for a process. Entering is one atomic exchange in it, leaving an atomic subtraction and a look
//   at whether a checkpointer waits. How deep a thread is it knows itself, so that only its outermost leaving
//   waits. A signal handler may come in the middle of either: then it nests where the thread may be counted,
//   and never waits for what that thread keeps from coming. A forked child gets a page of its own at the same
//   address, with nobody inside, before fork(2) returns.
// What it leaves to others
//   What a checkpointer does (gate/gate.h).
#pragma once

#include "gate/control_page.h"
#include "os/result.h"

namespace crs::agent {

// Makes the page, once; later calls do nothing. Thread-safe.
Status join();
// The page; null before join().
ControlPage* control_page();

// Its file, borrowed; -1: the program has closed it.
int control_file();
// Whether a checkpointer works: its lock on the file goes with it.
bool somebody_works();

// Async-signal-safe, thread-safe; join() was called. `label`: a name that stays valid until leave(), or null.
void enter(const char* label);
bool try_enter();  // false: a checkpointer waits or works
bool leave();      // false: this thread is in no section
bool is_inside();  // this thread
bool is_anybody_inside();
void never_wait();  // this thread: the one that calls the hooks, which a checkpointer waits for

}  // namespace crs::agent
