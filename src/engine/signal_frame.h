// SPDX-License-Identifier: Apache-2.0
// Signal frames: what rt_sigreturn(2) takes a thread's whole state from.
//
// What this file knows
//   On x86_64 the frame is a return address, a ucontext and, elsewhere, the vector state: 64-byte aligned,
//   with FP_XSTATE_MAGIC1 and its sizes in the reserved bytes of the legacy area and FP_XSTATE_MAGIC2 behind
//   it. A null fpstate pointer would reset the vector registers. rt_sigreturn takes the frame from rsp - 8,
//   so a function that is entered with rsp at the frame and returns lands on the return address with rsp
//   right for it.
//
// Kernel interfaces: arch/x86/include/uapi/asm/sigcontext.h, arch/x86/kernel/signal_64.c.
#pragma once

#include <sys/user.h>

#include <cstdint>
#include <optional>
#include <span>

#include "os/file_io.h"
#include "os/ids.h"

namespace crs {

struct SignalFrame {
  Bytes bytes;  // to be written at `at`
  RemoteAddr at;
  RemoteAddr stack;  // the rsp with which the frame is found: 8 bytes of return address, then the ucontext
};

// The space a frame takes, alignment included.
std::uint64_t signal_frame_space(std::size_t xstate_bytes);

// A frame that ends at or below `top`. `return_address` leads to code that calls rt_sigreturn.
SignalFrame make_signal_frame(RemoteAddr top, RemoteAddr return_address, const user_regs_struct& registers,
                              std::uint64_t signal_mask, std::span<const std::byte> xstate);

// What the frame's signal interrupted.
struct InterruptedAt {
  std::uint64_t instruction_pointer = 0;
  std::uint64_t stack_pointer = 0;
};

// The bytes that say so, from the frame's return address on.
inline constexpr std::size_t signal_frame_head = 200;

// `head` as the beginning of the kernel's frame for a handler of 64-bit code; nullopt: it is other data.
std::optional<InterruptedAt> read_signal_frame(std::span<const std::byte> head);

}  // namespace crs
