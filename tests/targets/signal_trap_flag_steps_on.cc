// SPDX-License-Identifier: Apache-2.0
// outside-view: skip status threads
#include <csignal>

#include "tests/target.h"

static volatile sig_atomic_t traps;

static void on_trap(int) {
  traps = traps + 1;
}

// A program that single-steps itself: each of its instructions ends with a SIGTRAP.
TARGET() {
  struct sigaction action = {};
  action.sa_handler = on_trap;
  OK(sigaction(SIGTRAP, &action, nullptr));
  asm volatile("pushfq\n orq $0x100, (%%rsp)\n popfq" ::: "memory", "cc");

  checkpoint_here();

  const int before = traps;
  for (int i = 0; i < 100; i++) asm volatile("nop");
  const int after = traps;
  asm volatile("pushfq\n andq $~0x100, (%%rsp)\n popfq" ::: "memory", "cc");
  EXPECT_GE(after - before, 200);
}
