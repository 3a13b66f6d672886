#include "tests/target.h"

#include <signal.h>

static char alternate[65536];
static bool was_on_alternate;

static void on_signal(int, siginfo_t*, void*) {
  char here = 0;
  checkpoint_here();  // in the handler, on the alternate stack
  was_on_alternate = &here >= alternate && &here < alternate + sizeof alternate;
}

TARGET() {
  stack_t stack = {};
  stack.ss_sp = alternate;
  stack.ss_size = sizeof alternate;
  OK(sigaltstack(&stack, nullptr));
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  sigaddset(&action.sa_mask, SIGUSR2);
  OK(sigaction(SIGUSR1, &action, nullptr));

  volatile long on_the_old_stack = 4711;
  OK(raise(SIGUSR1));

  EXPECT(was_on_alternate);
  EXPECT_EQ(on_the_old_stack, 4711);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  EXPECT_EQ(sigismember(&mask, SIGUSR1), 0);
  EXPECT_EQ(sigismember(&mask, SIGUSR2), 0);
  stack_t found = {};
  OK(sigaltstack(nullptr, &found));
  EXPECT_EQ(found.ss_flags, 0);
}
