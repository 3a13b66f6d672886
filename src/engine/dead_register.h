// SPDX-License-Identifier: Apache-2.0
// Dead registers: whether code looks at a register again before it is gone.
//
// What this file knows
//   A system call leaves all registers but rax, rcx and r11 as they were, so the code behind one may go on
//   using an argument of it. Where every way from there leads to a `ret` or a `call` without a word about
//   r10, it does not: r10 belongs to nobody across calls (System V ABI, "Register Usage"; no function returns
//   anything in it), and whoever makes a call with four arguments has put the fourth into r10 itself. The
//   wrappers of C libraries and Go look like that. The walk knows the instructions that such code is made of;
//   at any other it gives up.
//
// Kernel interfaces: none.   Reference: Intel SDM volume 2, "Instruction Format".
#pragma once

#include "engine/interrupted_calls.h"
#include "os/ids.h"

namespace crs {

// Whether r10 is certainly not read by the code at `at`. false: it is, or nobody can tell.
bool r10_is_dead_at(RemoteAddr at, const MemoryReader& read);

}  // namespace crs
