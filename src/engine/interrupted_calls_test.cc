// SPDX-License-Identifier: Apache-2.0
#include "engine/interrupted_calls.h"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace crs {
namespace {

constexpr std::uint64_t base = 0x10000;

// A thread in restart_syscall(2): `code` stands in front of where it goes on, `word` and `limit` behind.
struct Waiting {
  std::array<std::uint8_t, 9> code{0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x05};
  std::uint32_t word = 5, unused = 0;
  std::array<std::int64_t, 2> limit{12, 0};
  user_regs_struct registers{};

  Waiting() {
    registers.rip = base + sizeof code;
    registers.orig_rax = SYS_restart_syscall;
    registers.rax = static_cast<std::uint64_t>(-516);  // -ERESTART_RESTARTBLOCK
  }
  MemoryReader reader() const {
    return [this](RemoteAddr from, std::span<std::byte> out) -> Status {
      std::array<std::byte, 64> all{};
      std::memcpy(all.data(), code.data(), sizeof code);
      std::memcpy(all.data() + 16, &word, sizeof word);
      std::memcpy(all.data() + 32, limit.data(), sizeof limit);
      if (from.v < base || from.v + out.size() > base + all.size()) return Error::from_errno(EFAULT, "read");
      std::memcpy(out.data(), all.data() + (from.v - base), out.size());
      return ok();
    };
  }
};

std::optional<std::uint64_t> found(const Waiting& thread, Sleeping where = Sleeping::elsewhere) {
  return find_restarted_call(thread.registers, where, thread.reader());
}

TEST(InterruptedCalls, TheNumberIsInTheCode) {
  Waiting thread;
  const std::array<std::uint8_t, 5> move = {0xb8, SYS_poll, 0, 0, 0};  // mov $7, %eax
  std::memcpy(thread.code.data() + 2, move.data(), move.size());
  EXPECT_EQ(found(thread), static_cast<std::uint64_t>(SYS_poll));
}

TEST(InterruptedCalls, AWaitOfSyscallIsNotGuessedAt) {
  Waiting thread;  // syscall(SYS_poll, 0, 0, 12000) looks like clock_nanosleep(CLOCK_REALTIME, 0, 12000, ...)
  thread.registers.rdx = 12000;
  EXPECT_TRUE(is_restarted(thread.registers));
  EXPECT_EQ(found(thread), std::nullopt);
  EXPECT_EQ(remake_call(thread.registers).rax, static_cast<std::uint64_t>(SYS_restart_syscall));
}

TEST(InterruptedCalls, AFutexIsKnownByItsWord) {
  Waiting thread;
  thread.registers.rdi = base + 16;
  thread.registers.rsi = FUTEX_WAIT;
  thread.registers.rdx = 5;
  thread.registers.r10 = base + 32;
  EXPECT_EQ(found(thread), static_cast<std::uint64_t>(SYS_futex));
  thread.registers.rdx = 6;  // the word has another value: then nobody waits for it
  EXPECT_EQ(found(thread), std::nullopt);
}

TEST(InterruptedCalls, ASleepIsKnownByWhereItSleeps) {
  Waiting thread;
  EXPECT_EQ(found(thread, Sleeping::in_poll), static_cast<std::uint64_t>(SYS_poll));
  EXPECT_EQ(found(thread, Sleeping::in_futex), static_cast<std::uint64_t>(SYS_futex));
  thread.registers.rdi = base + 32;  // nanosleep(limit, NULL)
  EXPECT_EQ(found(thread, Sleeping::in_nanosleep), static_cast<std::uint64_t>(SYS_nanosleep));
  thread.registers.rdi = 1;  // clock_nanosleep(CLOCK_MONOTONIC, 0, limit, NULL)
  thread.registers.rdx = base + 32;
  EXPECT_EQ(found(thread, Sleeping::in_nanosleep), static_cast<std::uint64_t>(SYS_clock_nanosleep));
  thread.registers.rdi = ~std::uint64_t{5};  // another thread's processor time
  EXPECT_EQ(found(thread, Sleeping::in_nanosleep), static_cast<std::uint64_t>(SYS_clock_nanosleep));
  thread.registers.rdi = 0xfffffffa;  // the same, if only the lower half was set; or an address
  EXPECT_EQ(found(thread, Sleeping::in_nanosleep), std::nullopt);
  thread.registers.rdi = 1;
  thread.registers.rdx = 12000;  // no limit there
  EXPECT_EQ(found(thread, Sleeping::in_nanosleep), std::nullopt);
}

TEST(InterruptedCalls, NamesOfKernelFunctions) {
  EXPECT_EQ(sleeping_in("poll_schedule_timeout.constprop.0"), Sleeping::in_poll);
  EXPECT_EQ(sleeping_in("do_sys_poll"), Sleeping::in_poll);
  EXPECT_EQ(sleeping_in("ep_poll"), Sleeping::elsewhere);
  EXPECT_EQ(sleeping_in("do_epoll_wait"), Sleeping::elsewhere);
  EXPECT_EQ(sleeping_in("futex_do_wait"), Sleeping::in_futex);
  EXPECT_EQ(sleeping_in("futex_wait_queue_me"), Sleeping::in_futex);
  EXPECT_EQ(sleeping_in("hrtimer_nanosleep"), Sleeping::in_nanosleep);
  EXPECT_EQ(sleeping_in("do_cpu_nanosleep"), Sleeping::in_nanosleep);
  EXPECT_EQ(sleeping_in("alarm_timer_nsleep"), Sleeping::in_nanosleep);
  EXPECT_EQ(sleeping_in("do_syscall_64"), Sleeping::in_nanosleep);
  EXPECT_EQ(sleeping_in("0"), Sleeping::elsewhere);
}

}  // namespace
}  // namespace crs
