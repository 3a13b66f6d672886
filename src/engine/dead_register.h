// SPDX-License-Identifier: Apache-2.0
// Dead registers: whether code looks at a register again before it is gone.
//
// What this file knows
//   A system call leaves all registers but rax, rcx and r11 as they were, so the code behind one may go on
//   using an argument of it. It does not where every way from there leads to a `ret`, or to an instruction
//   that overwrites the register, without a word about it. At a `ret` nobody has a use for what a call was
//   given in rdx or r10 (System V ABI, "Register Usage"): only a function that returns two values puts one
//   into rdx, and that is never the argument of its last call. At a `call` r10 is nobody's, too, and whoever
//   makes a system call with four arguments has put the fourth into r10 himself; but rdx may be an argument
//   of the function, so the walk goes on in it as well as behind it. The wrappers of C libraries and Go look
//   like that. The walk knows the instructions that such code is made of; at any other it gives up.
//
// Kernel interfaces: none.   Reference: Intel SDM volume 2, "Instruction Format".
#pragma once

#include "engine/interrupted_calls.h"
#include "os/ids.h"

namespace crs {

// Whether the register of argument 2 or 3 of a system call (rdx or r10), counted from 0, is certainly not
// read by the code at `at`. false: it is, or nobody can tell.
bool argument_is_dead_at(int argument, RemoteAddr at, const MemoryReader& read);

}  // namespace crs
