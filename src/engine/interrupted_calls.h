// SPDX-License-Identifier: Apache-2.0
// Interrupted calls: what becomes of a system call in which a freeze found a thread.
//
// What this file knows
//   The kernel leaves -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND or -ERESTART_RESTARTBLOCK in rax, with
//   the call's number in orig_rax, and makes the call again when nothing but our stop came. In the process
//   that goes on we leave that to the kernel, which also keeps the rest of a sleep in the thread's restart
//   block. In a restored process, or when the thread leaves through rt_sigreturn, there is no restart block:
//   the call is made anew by hand, a sleep with the rest that the kernel wrote to its "remaining" argument.
//   Some calls answer any interruption with a plain EINTR (signal(7)): epoll_wait, sigtimedwait, semop and
//   others. When no signal was there to be delivered, that EINTR is ours and is taken back.
//
// Kernel interfaces: signal(7), restart_syscall(2), include/linux/errno.h.
#pragma once

#include <sys/user.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "os/ids.h"
#include "os/result.h"

namespace crs {

using MemoryReader = std::function<Status(RemoteAddr, std::span<std::byte>)>;

// Whether the registers show a call whose EINTR can only come from our stop (given that no signal is
// pending).
bool has_unearned_eintr(const user_regs_struct& registers);
// Turns that into a call which the kernel, or remake_call, makes again.
void take_back_eintr(user_regs_struct& registers);

// Registers with which a thread makes its interrupted call again by its own: rip moved back onto the system
// call instruction, the number in rax, orig_rax -1. Unchanged (but for orig_rax) outside of interrupted
// calls.
user_regs_struct remake_call(const user_regs_struct& registers, const MemoryReader& read);

}  // namespace crs
