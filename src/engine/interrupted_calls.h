// SPDX-License-Identifier: Apache-2.0
// Interrupted calls: what becomes of a system call in which a freeze found a thread.
//
// What this file knows
//   The kernel leaves -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND or -ERESTART_RESTARTBLOCK in rax, with
//   the call's number in orig_rax, and makes the call again when nothing but our stop came; a signal that
//   waits to be handled makes it EINTR instead, as it should. We leave that to the kernel, in the process
//   that goes on and in the restored one, whose threads get the same registers at the same kind of stop. The
//   rest of a sleep, poll or futex wait is in the thread's restart block, which nobody can read or write: a
//   restored thread is sent into the call once more to get one (rebuilder.h), with what was left of its limit
//   (wait_limits.h). So no argument of the program's own changes in a register or in memory, where compiled
//   code might look at it after the call. When a thread leaves through rt_sigreturn, because we were killed,
//   there is no restart block: the call is then made anew by hand, a sleep with the rest that the kernel
//   wrote to its "remaining" argument, others from their start. A wait that was interrupted before is in
//   restart_syscall(2), and the kernel does not tell which call that goes on with. Only nanosleep,
//   clock_nanosleep, poll and futex get there. The last to interrupt it may have left a note (wait_notes.h).
//   Some calls answer any interruption with a plain EINTR (signal(7)): epoll_wait, sigtimedwait, semop and
//   others, and select, pselect and ppoll where the kernel cannot write what is left of their limit. That
//   EINTR is ours, or that of a signal which is still to be delivered: at a stop the kernel has not come to
//   that yet. It is taken back: -ERESTARTNOHAND, so that a signal with a handler, waiting or to come until
//   the thread runs on, makes it EINTR again.
//
// Kernel interfaces: signal(7), restart_syscall(2), include/linux/errno.h.
#pragma once

#include <sys/user.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "os/ids.h"
#include "os/result.h"

namespace crs {

using MemoryReader = std::function<Status(RemoteAddr, std::span<std::byte>)>;

// Whether the registers show a call whose EINTR can only come from our stop, or from a signal that is still
// to be delivered.
bool has_unearned_eintr(const user_regs_struct& registers);
// Turns that into a call which the kernel, or remake_call, makes again.
void take_back_eintr(user_regs_struct& registers);

// Whether the kernel makes the call again when a thread at a signal stop goes on with these registers.
bool is_interrupted(const user_regs_struct& registers);
// Whether it does so from a restart block that must be there.
bool needs_restart_block(const user_regs_struct& registers);
// Whether the call is a wait that was interrupted before: the kernel was in restart_syscall(2).
bool is_restarted(const user_regs_struct& registers);
// What the thread sleeps in then, by the name of the kernel's function (proc(5), wchan).
enum class Sleeping : std::uint8_t { elsewhere, in_poll, in_futex, in_nanosleep };
Sleeping sleeping_in(std::string_view wchan);
// Which call such a wait is, by where in the kernel it slept, by the code around it and by its arguments.
// nullopt: a restored thread could not go on with it.
std::optional<std::uint64_t> find_restarted_call(const user_regs_struct& registers, Sleeping where,
                                                 const MemoryReader& read);

// The same registers, for a thread of another process at a signal stop. As remake_call() where the kernel
// could not restart the call there.
user_regs_struct carry_over_call(const user_regs_struct& registers, const MemoryReader& read);

// Registers with which a thread makes its interrupted call again by its own: rip moved back onto the system
// call instruction, the number in rax, orig_rax -1. Unchanged (but for orig_rax) outside of interrupted
// calls.
user_regs_struct remake_call(const user_regs_struct& registers);

}  // namespace crs
