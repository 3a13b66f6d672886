// SPDX-License-Identifier: Apache-2.0
#include "engine/signal_frame.h"

#include <signal.h>

#include <cstddef>
#include <cstring>

namespace crs {
namespace {

constexpr std::uint32_t xstate_magic1 = 0x46505853;  // FP_XSTATE_MAGIC1
constexpr std::uint32_t xstate_magic2 = 0x46505845;  // FP_XSTATE_MAGIC2
constexpr std::uint64_t uc_fp_xstate = 1;
constexpr std::uint64_t uc_sigcontext_ss = 2;
constexpr std::uint64_t uc_strict_restore_ss = 4;
constexpr std::size_t software_area = 464;  // struct _fpx_sw_bytes in the legacy area; ptrace puts xcr0 there

// rt_sigreturn also sets the alternate stack from the frame. We do not know it yet, and a frame with
// SS_DISABLE would take it from the thread. A mode that does not exist is refused, and the kernel ignores
// that refusal (restore_altstack() in kernel/signal.c): the alternate stack stays.
constexpr int no_such_stack_mode = 0x10;

struct SoftwareBytes {
  std::uint32_t magic1;
  std::uint32_t extended_size;
  std::uint64_t features;
  std::uint32_t xstate_size;
  std::uint32_t padding[7];
};
static_assert(sizeof(SoftwareBytes) == 48);

struct Frame {
  std::uint64_t return_address;
  std::uint64_t flags;
  std::uint64_t link;
  stack_t stack;
  std::uint64_t registers[23];
  std::uint64_t vector_state;
  std::uint64_t reserved[8];
  std::uint64_t signal_mask;
};
static_assert(sizeof(Frame) == 8 + 40 + 256 + 8);

// Indexes into Frame::registers.
constexpr std::size_t at_rsp = 15, at_rip = 16, at_flags = 17, at_segments = 18;
static_assert(signal_frame_head == offsetof(Frame, registers) + (at_segments + 1) * 8);

constexpr std::uint64_t user_code_segment = 0x33, user_stack_segment = 0x2b;

}  // namespace

std::uint64_t signal_frame_space(std::size_t xstate_bytes) {
  return (xstate_bytes + sizeof(Frame) + 256) & ~63ull;
}

SignalFrame make_signal_frame(RemoteAddr top, RemoteAddr return_address, const user_regs_struct& registers,
                              std::uint64_t signal_mask, std::span<const std::byte> xstate) {
  const std::uint64_t vector_at = (top.v - xstate.size() - sizeof xstate_magic2) & ~63ull;
  const std::uint64_t frame_at = ((vector_at - sizeof(Frame)) & ~15ull) - 8;  // as at a function's entry

  Frame frame{};
  frame.return_address = return_address.v;
  frame.flags = uc_fp_xstate | uc_sigcontext_ss | uc_strict_restore_ss;
  frame.stack.ss_flags = no_such_stack_mode;
  const user_regs_struct& r = registers;
  const std::uint64_t in_order[] = {r.r8,
                                    r.r9,
                                    r.r10,
                                    r.r11,
                                    r.r12,
                                    r.r13,
                                    r.r14,
                                    r.r15,
                                    r.rdi,
                                    r.rsi,
                                    r.rbp,
                                    r.rbx,
                                    r.rdx,
                                    r.rax,
                                    r.rcx,
                                    r.rsp,
                                    r.rip,
                                    r.eflags,
                                    r.cs | (r.ss << 48)};
  std::memcpy(frame.registers, in_order, sizeof in_order);
  frame.vector_state = vector_at;
  frame.signal_mask = signal_mask;

  SignalFrame made;
  made.at = RemoteAddr(frame_at);
  made.stack = RemoteAddr(frame_at);
  made.bytes.resize(vector_at + xstate.size() + sizeof xstate_magic2 - frame_at);
  std::memcpy(made.bytes.data(), &frame, sizeof frame);
  std::byte* const vector_bytes = made.bytes.data() + (vector_at - frame_at);
  std::memcpy(vector_bytes, xstate.data(), xstate.size());
  SoftwareBytes software{};
  software.magic1 = xstate_magic1;
  software.extended_size = static_cast<std::uint32_t>(xstate.size() + sizeof xstate_magic2);
  std::memcpy(&software.features, xstate.data() + software_area, sizeof software.features);
  software.xstate_size = static_cast<std::uint32_t>(xstate.size());
  std::memcpy(vector_bytes + software_area, &software, sizeof software);
  std::memcpy(vector_bytes + xstate.size(), &xstate_magic2, sizeof xstate_magic2);
  return made;
}

std::optional<InterruptedAt> read_signal_frame(std::span<const std::byte> head) {
  if (head.size() < signal_frame_head) return std::nullopt;
  Frame frame{};
  std::memcpy(&frame, head.data(), signal_frame_head);
  const std::uint64_t segments = frame.registers[at_segments];
  constexpr std::uint64_t all_flags = uc_fp_xstate | uc_sigcontext_ss | uc_strict_restore_ss;
  const bool is_frame = (frame.flags & ~all_flags) == 0 && (segments & 0xffff) == user_code_segment &&
                        (segments >> 48) == user_stack_segment && (frame.registers[at_flags] & 0x2) != 0 &&
                        (frame.registers[at_flags] >> 22) == 0;  // as rflags always are
  if (!is_frame) return std::nullopt;
  return InterruptedAt{frame.registers[at_rip], frame.registers[at_rsp]};
}

}  // namespace crs
