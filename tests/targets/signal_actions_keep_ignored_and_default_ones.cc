// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

static bool is_ignored(int signal) {
  struct sigaction now {};
  OK(sigaction(signal, nullptr, &now));
  return now.sa_handler == SIG_IGN;
}

TARGET() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  // The default action with a flag that means something: children leave no zombies.
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  action.sa_flags = SA_NOCLDWAIT;
  OK(sigaction(SIGCHLD, &action, nullptr));

  checkpoint_here();

  for (int number = 1; number <= 64; number++) {
    if (number == SIGKILL || number == SIGSTOP || number == 32 || number == 33) continue;
    EXPECT_EQ(is_ignored(number), number == SIGPIPE || number == SIGUSR1);
  }
  struct sigaction now {};
  OK(sigaction(SIGCHLD, nullptr, &now));
  EXPECT_EQ(now.sa_handler == SIG_DFL, true);
  EXPECT_EQ(now.sa_flags & SA_NOCLDWAIT, SA_NOCLDWAIT);
}
