// SPDX-License-Identifier: Apache-2.0
#include "engine/interrupted_calls.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace crs {
namespace {

// include/linux/errno.h of the kernel; never seen by programs.
constexpr std::int64_t restart_sys = 512;
constexpr std::int64_t restart_no_intr = 513;
constexpr std::int64_t restart_no_hand = 514;
constexpr std::int64_t restart_block = 516;

// Calls that answer an interruption with EINTR whether or not a handler runs, and that have done nothing yet
// when they do. connect(2) is not among them: making it again is not the same call.
constexpr std::array calls_with_plain_eintr = {
    SYS_read,           SYS_readv,        SYS_write,   SYS_writev,     SYS_recvfrom,        SYS_recvmsg,
    SYS_recvmmsg,       SYS_sendto,       SYS_sendmsg, SYS_accept,     SYS_accept4,         SYS_epoll_wait,
    SYS_epoll_pwait,    SYS_epoll_pwait2, SYS_semop,   SYS_semtimedop, SYS_rt_sigtimedwait, SYS_io_getevents,
    SYS_io_uring_enter, SYS_msgrcv,       SYS_msgsnd,  SYS_select,     SYS_pselect6,        SYS_ppoll};

// Calls that have a restart block, if they have a limit.
constexpr std::array calls_with_restart_block = {SYS_nanosleep, SYS_clock_nanosleep, SYS_poll, SYS_futex};

std::int64_t interruption_of(const user_regs_struct& registers) {
  return -static_cast<std::int64_t>(registers.rax);
}

template <class T>
std::optional<T> peek(const MemoryReader& read, std::uint64_t address) {
  T value{};
  if (!read(RemoteAddr(address), std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
  return value;
}

// A futex wait with a limit, by what holds while it waits: the word is still what the caller expected.
bool is_futex_wait(const user_regs_struct& registers, const MemoryReader& read) {
  const std::uint64_t operation = registers.rsi & ~std::uint64_t{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME};
  if (operation != FUTEX_WAIT && operation != FUTEX_WAIT_BITSET) return false;
  const auto word = peek<std::uint32_t>(read, registers.rdi);
  const auto limit = peek<std::array<std::int64_t, 2>>(read, registers.r10);
  return word && *word == static_cast<std::uint32_t>(registers.rdx) && limit && (*limit)[0] >= 0 &&
         (*limit)[1] >= 0 && (*limit)[1] < 1'000'000'000;
}

// The number in the instruction in front of `syscall` (mov $imm32,%eax, or mov $imm32,%rax). There is none
// where a general function makes the call: syscall(3), and all waits of musl.
std::optional<std::uint64_t> number_in_code(const user_regs_struct& registers, const MemoryReader& read) {
  const auto code = peek<std::array<std::uint8_t, 9>>(read, registers.rip - 9);
  if (!code) return std::nullopt;
  std::uint32_t number = 0;
  std::memcpy(&number, code->data() + 3, sizeof number);
  const bool is_move = (*code)[2] == 0xb8 || ((*code)[0] == 0x48 && (*code)[1] == 0xc7 && (*code)[2] == 0xc0);
  if (!is_move || std::ranges::find(calls_with_restart_block, static_cast<long>(number)) ==
                      calls_with_restart_block.end()) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

bool has_unearned_eintr(const user_regs_struct& registers) {
  const auto result = static_cast<std::int64_t>(registers.rax);
  const auto number = static_cast<std::int64_t>(registers.orig_rax);
  return result == -EINTR &&
         std::ranges::find(calls_with_plain_eintr, number) != calls_with_plain_eintr.end();
}

void take_back_eintr(user_regs_struct& registers) {
  registers.rax = static_cast<std::uint64_t>(-restart_no_hand);
}

bool is_interrupted(const user_regs_struct& registers) {
  if (static_cast<std::int64_t>(registers.orig_rax) < 0) return false;
  const std::int64_t interruption = interruption_of(registers);
  return interruption == restart_sys || interruption == restart_no_intr || interruption == restart_no_hand ||
         interruption == restart_block;
}

bool is_restarted(const user_regs_struct& registers) {
  return is_interrupted(registers) && registers.orig_rax == SYS_restart_syscall;
}

Sleeping sleeping_in(std::string_view wchan) {
  const auto has = [&](std::string_view part) { return wchan.find(part) != std::string_view::npos; };
  if (has("epoll") || has("ep_poll")) return Sleeping::elsewhere;
  if (has("poll")) return Sleeping::in_poll;  // poll_schedule_timeout, do_sys_poll, do_restart_poll
  if (has("futex")) return Sleeping::in_futex;
  if (has("nanosleep") || has("nsleep")) return Sleeping::in_nanosleep;
  // Functions of the scheduler are passed over, do_nanosleep among them, and its callers jump to it without
  // a frame of their own (hrtimer_nanosleep_restart): then the entry of the call is all that is left.
  if (has("do_syscall_64") || has("x64_sys_call") || has("restart_syscall")) return Sleeping::in_nanosleep;
  return Sleeping::elsewhere;
}

std::optional<std::uint64_t> find_restarted_call(const user_regs_struct& registers, Sleeping where,
                                                 const MemoryReader& read) {
  switch (where) {
    case Sleeping::in_poll: return SYS_poll;
    case Sleeping::in_futex: return SYS_futex;
    case Sleeping::in_nanosleep: {
      // The first argument of the one is a clock, of the other an address. No memory may lie so low that both
      // could be meant (vm.mmap_min_addr); clocks with negative numbers are nowhere near user space.
      constexpr std::uint64_t lowest_address = 4096;
      constexpr std::uint64_t user_space_end = 0x7ffffffff000;
      const std::uint64_t first = registers.rdi;
      const bool is_address = first >= lowest_address && first < user_space_end;
      const auto limit = peek<std::array<std::int64_t, 2>>(read, is_address ? first : registers.rdx);
      if (!limit) break;
      // An int in the low half alone: a clock whose upper half happens to be zero.
      if (is_address && first >> 31 == 1) break;
      return is_address ? SYS_nanosleep : SYS_clock_nanosleep;
    }
    case Sleeping::elsewhere: break;
  }
  if (const auto number = number_in_code(registers, read)) return number;
  if (is_futex_wait(registers, read)) return SYS_futex;
  return std::nullopt;
}

bool needs_restart_block(const user_regs_struct& registers) {
  return is_interrupted(registers) && interruption_of(registers) == restart_block;
}

user_regs_struct carry_over_call(const user_regs_struct& registers, const MemoryReader& read) {
  constexpr std::array<std::uint8_t, 2> system_call = {0x0f, 0x05};
  if (!is_interrupted(registers)) return remake_call(registers);
  // 32-bit calls (int $0x80) have other numbers, and the kernel would take them for ours.
  if (peek<std::array<std::uint8_t, 2>>(read, registers.rip - 2) != system_call)
    return remake_call(registers);
  const auto number = static_cast<long>(registers.orig_rax);
  if (needs_restart_block(registers) &&
      std::ranges::find(calls_with_restart_block, number) == calls_with_restart_block.end()) {
    return remake_call(registers);
  }
  return registers;
}

user_regs_struct remake_call(const user_regs_struct& registers) {
  user_regs_struct remade = registers;
  remade.orig_rax = ~std::uint64_t{0};
  if (!is_interrupted(registers)) return remade;
  remade.rax = registers.orig_rax;
  remade.rip -= 2;  // the length of `syscall`
  // Where which call it is is not known (restart_syscall) the kernel answers with EINTR: no other call than
  // that which was made.
  if (needs_restart_block(registers)) {
    if (remade.rax == SYS_nanosleep && remade.rsi != 0) remade.rdi = remade.rsi;
    if (remade.rax == SYS_clock_nanosleep && remade.r10 != 0) remade.rdx = remade.r10;
  }
  return remade;
}

}  // namespace crs
