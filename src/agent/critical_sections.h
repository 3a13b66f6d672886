// SPDX-License-Identifier: Apache-2.0
// Critical sections: the participating process's side of the control page (gate/control_page.h).
//
// What this file knows
//   One page for a process. Entering is one atomic addition; leaving is another and a look at whether a
//   checkpointer waits. How deep a thread is it knows itself, so that only its outermost leaving waits. A
//   forked child gets a page of its own at the same address, with nobody inside, before fork(2) returns.
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
bool try_enter();   // false: a checkpointer waits or works
bool leave();       // false: this thread is in no section
bool is_inside();   // this thread
void never_wait();  // this thread, in enter(): the one that calls the hooks, which a closed gate waits for

}  // namespace crs::agent
