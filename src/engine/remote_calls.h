// SPDX-License-Identifier: Apache-2.0
// Remote calls: system calls made inside a frozen process, which it survives whatever happens to us.
//
// What this file knows
//   If we are killed at any instant, the kernel detaches and each thread runs on with the registers it has.
//   So a batch is disguised as a signal handler: a frame that rt_sigreturn(2) accepts, with registers, signal
//   mask and vector state, is in place before the registers are changed, and every way out of the batch that
//   we do not intercept leads to rt_sigreturn. The order of our own steps matters, each found by a dead
//   target:
//     in:  frame, registers, then the signal mask (killed before the mask: the frame restores the same mask);
//     out: signal mask, then registers (killed before the registers: the frame restores both).
//   The first call, an mmap(2) of an area for everything else, goes through a `syscall; ret` of the program's
//   own, its frame on the stack below the red zone, with the bytes that were there put back as soon as the
//   area holds a frame of its own. The last one, the munmap(2), likewise. A batch ends with tgkill(2) to its
//   own thread, of a signal whose default is to be ignored and which the program neither catches nor blocks.
//   A traced thread reports it as one signal-delivery-stop: one stop per batch, and from that stop the kernel
//   still restarts the interrupted call with the rest of its time. An untraced thread never notices it and
//   goes on to rt_sigreturn. Threads that catch or block all such signals are stepped from system call to
//   system call (PTRACE_SYSCALL) instead, which is slower. The batches of several threads run at the same
//   time.
// What it leaves to others
//   What the calls are (CallBatch, the kinds). Restored processes, which die with us anyway (rebuild.cc).
//
// Kernel interfaces: ptrace(2), sigreturn(2), signal(7), proc(5) mem, arch/x86/kernel/signal_64.c.
#pragma once

#include <span>

#include "engine/call_batch.h"
#include "engine/frozen_process.h"
#include "os/deadline.h"
#include "os/result.h"

namespace crs {

struct RemoteJob {
  std::size_t thread = 0;      // index into FrozenProcess::threads()
  CallBatch* batch = nullptr;  // not empty; gets its results
};

// Runs all jobs; those of one thread one after the other. The calls must change nothing that is not undone by
// them. Afterwards the process is as it was. errors: target_gone, timeout, unsupported (no usable code in the
// program). A call that had to succeed and did not: that error, after everything has been put back.
Status make_remote_calls(FrozenProcess& process, std::span<const RemoteJob> jobs, Deadline deadline);

// The same for one batch of the first thread, which runs `code` before it (at most 2 KiB,
// position-independent). The code starts with rbx at the batch's first entry, rbp counting them, and r12 at
// the loop that walks them: it goes on by jumping there, uses no stack, and leaves rbx, rbp and rsp as they
// are.
Status run_before_batch(FrozenProcess& process, std::span<const std::byte> code, CallBatch& batch,
                        Deadline deadline);

// Runs a batch with an execve(2) in it. true: it was executed. All other threads are gone then, and the
// process stands at PTRACE_EVENT_EXEC, at the first instruction of the new program, under its first thread's
// number; nothing of `process` is true of it any more. false: execve(2) failed, the rest of the batch was
// made, and the process is as it was. From the start of the batch on the process dies with us.
Result<bool> execute_remotely(FrozenProcess& process, std::size_t thread, CallBatch& batch,
                              Deadline deadline);

// The loop that walks a batch's image: rbx points to the first entry, rbp counts them; it ends in
// rt_sigreturn.
std::span<const std::byte> batch_loop();

}  // namespace crs
