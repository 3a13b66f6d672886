// SPDX-License-Identifier: Apache-2.0
// expect: refused timerfd shared
#include <signal.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "tests/target.h"

TARGET() {
  const int fd = OK(timerfd_create(CLOCK_MONOTONIC, 0));
  const pid_t child = OK(fork());
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }

  checkpoint_here();

  EXPECT_EQ(OK(kill(child, SIGKILL)), 0);
  OK(waitpid(child, nullptr, 0));
  itimerspec time{};
  EXPECT_EQ(OK(timerfd_gettime(fd, &time)), 0);
}
