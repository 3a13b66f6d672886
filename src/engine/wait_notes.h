// SPDX-License-Identifier: Apache-2.0
// Wait notes: which wait we interrupted and when it ends, left with the thread for the next checkpoint.
//
// What this file knows
//   A poll, futex wait or sleep that was interrupted goes on in restart_syscall(2), and the kernel tells
//   neither which call that is nor when it ends. Whoever interrupted it knew both. So they are left with the
//   thread as it is let go, in the debug status register that the kernel keeps for each thread and shows to a
//   tracer alone (offsetof(struct user, u_debugreg[6])). It does nothing: the registers that do are 0 to 3
//   and 7, and any debug exception sets it anew.
//   A note is good for the next sleep of the thread and no other: it holds how often the thread had slept.
//   One that had come out of that wait, or had been stopped by somebody else, has slept more often.
//   The end is rounded up to 65 microseconds.
//
// Kernel interfaces: ptrace(2) PTRACE_PEEKUSER, arch/x86/kernel/ptrace.c (ptrace_set_debugreg), proc(5).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "os/ids.h"
#include "os/proc.h"

namespace crs {

struct WaitNote {
  std::uint64_t call = 0;                        // SYS_poll, SYS_futex, SYS_nanosleep or SYS_clock_nanosleep
  std::optional<std::chrono::nanoseconds> ends;  // CLOCK_MONOTONIC; nullopt: not known, or never
};

// As 64 bits; nullopt for another call. `times_slept`: the thread's voluntary switches, all of them or the
// low bits.
std::optional<std::uint64_t> encode(const WaitNote& note, std::uint64_t times_slept);
// nullopt unless it is a note from when the thread had slept so often.
std::optional<WaitNote> decode(std::uint64_t word, std::uint64_t times_slept);

// Of a thread that just stopped in its next sleep after a note was left. nullopt where there is none.
std::optional<WaitNote> find_note(Tid tid, const ProcDir& task);
// With a thread that is traced and stopped, right before it is let go. Where it cannot be left the next
// checkpoint knows less.
void leave_note(Tid tid, const ProcDir& task, const WaitNote& note);

}  // namespace crs
