// SPDX-License-Identifier: Apache-2.0
// Shortened waits: a sigtimedwait(2) that begins anew after a stop, with what is left of its limit.
//
// What this file knows
//   sigtimedwait answers any stop with EINTR. When that is taken back (interrupted_calls.h) the call begins
//   anew, with the program's own limit: saved often enough, it would never end. That limit is the program's
//   and stays as it is. So the call is given another one: at the stop at its entry, from where no signal
//   handler can run before the kernel has read it, the rest is written below the red zone of the thread's
//   stack, where nothing lasts, and the argument is made to point there. Killed at any moment, we leave the
//   call with the one limit or the other.
//   A detach at such a stop leaves TIF_SIGPENDING set, with which most calls would end at once (semtimedop,
//   epoll_pwait2). sigtimedwait looks what there is before it sleeps (recalc_sigpending in do_sigtimedwait).
//   The register keeps the address when the call is over, so this is done only where the code behind it does
//   not look (dead_register.h), and only where a signal handler would have used the same memory: a thread
//   with an alternate stack may have none of its own there (Go).
//   Behind the rest lies the program's own address, by which the next checkpoint, still inside the same call,
//   puts the argument right before it does anything else. Nobody can have written there in between: a handler
//   would have ended the call.
//
// Kernel interfaces: ptrace(2) PTRACE_SYSCALL, signal(7), kernel/signal.c.
#pragma once

#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/interrupted_calls.h"
#include "os/ids.h"
#include "os/proc.h"

namespace crs {

// Where the program itself has the limit, of a stopped thread whose call was shortened.
std::optional<std::uint64_t> find_own_limit(const user_regs_struct& registers, const MemoryReader& read);

// Whether the call in the registers can be given another limit; but for an alternate stack.
bool can_be_shortened(const user_regs_struct& registers, const std::vector<Vma>& vmas,
                      const MemoryReader& read);

// Lets a traced thread go that stands at a signal stop, with the registers of a call that the kernel makes
// again. `memory` is its /proc/PID/mem. Where a signal comes first the call ends with EINTR, as it should.
void let_go_shortened(Tid tid, const user_regs_struct& registers, std::chrono::nanoseconds left, int memory);

}  // namespace crs
