// SPDX-License-Identifier: Apache-2.0
// notes: timer_getoverrun(2)
// variants: once running
#include "tests/target.h"

// The count of expirations behind one waiting signal cannot be put back: it is told, and the signal still
// comes.
TARGET() {
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGRTMIN);
  OK(sigprocmask(SIG_BLOCK, &alarms, nullptr));
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  timer_t timer{};
  OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
  const itimerspec every{{0, 2'000'000}, {0, 2'000'000}};
  OK(timer_settime(timer, 0, &every, nullptr));
  sigset_t waiting;
  do {
    usleep(10'000);
    OK(sigpending(&waiting));
  } while (sigismember(&waiting, SIGRTMIN) != 1);

  checkpoint_here();

  siginfo_t info{};
  EXPECT_EQ(sigwaitinfo(&alarms, &info), SIGRTMIN);
  EXPECT_EQ(info.si_code, SI_TIMER);
}
