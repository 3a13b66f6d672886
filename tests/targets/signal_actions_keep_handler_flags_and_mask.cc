// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

static int got_signal;
static int value_received;
static sigset_t mask_inside;

static void handle(int signal, siginfo_t* info, void*) {
  got_signal = signal;
  value_received = info->si_value.sival_int;
  sigprocmask(SIG_SETMASK, nullptr, &mask_inside);
}

TARGET() {
  struct sigaction action {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER;
  sigaddset(&action.sa_mask, SIGUSR2);
  OK(sigaction(SIGRTMIN + 3, &action, nullptr));
  OK(sigaction(SIGHUP, &action, nullptr));

  checkpoint_here();

  struct sigaction now {};
  OK(sigaction(SIGHUP, nullptr, &now));
  EXPECT_EQ(now.sa_sigaction == handle, true);
  EXPECT_EQ(now.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER), SA_SIGINFO | SA_RESTART | SA_NODEFER);
  EXPECT_EQ(sigismember(&now.sa_mask, SIGUSR2), 1);
  OK(sigqueue(getpid(), SIGRTMIN + 3, sigval{.sival_int = 77}));
  EXPECT_EQ(got_signal, SIGRTMIN + 3);
  EXPECT_EQ(value_received, 77);
  EXPECT_EQ(sigismember(&mask_inside, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&mask_inside, SIGRTMIN + 3), 0);
}
