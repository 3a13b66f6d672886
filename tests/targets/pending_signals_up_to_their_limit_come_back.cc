// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/resource.h>

#include "tests/target.h"

TARGET() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN);
  OK(sigprocmask(SIG_BLOCK, &set, nullptr));
  const rlimit limit{64, 64};
  OK(setrlimit(RLIMIT_SIGPENDING, &limit));
  int sent = 0;
  while (sigqueue(getpid(), SIGRTMIN, sigval{.sival_int = sent}) == 0) sent++;

  checkpoint_here();

  siginfo_t info{};
  timespec none{};
  for (int i = 0; i < sent; i++) {
    EXPECT_EQ(sigtimedwait(&set, &info, &none), SIGRTMIN);
    EXPECT_EQ(info.si_value.sival_int, i);
  }
  EXPECT_EQ(sigtimedwait(&set, &info, &none), -1);
  rlimit now{};
  OK(getrlimit(RLIMIT_SIGPENDING, &now));
  EXPECT_EQ(now.rlim_cur, 64u);
}
