// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

TARGET() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCONT);
  OK(sigprocmask(SIG_BLOCK, &set, nullptr));
  OK(kill(getpid(), SIGCONT));

  checkpoint_here();

  siginfo_t info{};
  timespec none{};
  EXPECT_EQ(sigtimedwait(&set, &info, &none), SIGCONT);
}
