// SPDX-License-Identifier: Apache-2.0
// expect: refused process memory CLONE_VM execve
#include <sched.h>
#include <signal.h>

#include <atomic>

#include "tests/target.h"

static std::atomic<int> rounds;
static std::atomic<bool> over;

// No C library: it lives in the memory of a thread that uses it.
static int count(void*) {
  const timespec pause{0, 1'000'000};
  while (!over) {
    rounds++;
    syscall(SYS_nanosleep, &pause, nullptr);
  }
  rounds = -1;
  syscall(SYS_exit, 0);
  return 0;
}

TARGET() {
  constexpr size_t stack_size = 65536;
  alignas(16) static char stack[stack_size];
  // Its parent is ours, as that of a daemon's is init.
  OK(clone(count, stack + stack_size, CLONE_VM | CLONE_PARENT | SIGCHLD, nullptr));
  AWAIT(rounds > 0);

  checkpoint_here();

  over = true;
  AWAIT(rounds == -1);
  EXPECT_EQ(rounds.load(), -1);
}
