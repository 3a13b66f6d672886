// SPDX-License-Identifier: Apache-2.0
// outside-view: skip status threads
#include <signal.h>
#include <sys/time.h>

#include "tests/target.h"

static int alarms, profiles;
static void on_alarm(int) {
  alarms++;
}
static void on_profile(int) {
  profiles++;
}

TARGET() {
  signal(SIGALRM, on_alarm);
  signal(SIGVTALRM, on_profile);
  const itimerval often{{0, 5000}, {0, 5000}};
  OK(setitimer(ITIMER_REAL, &often, nullptr));
  OK(setitimer(ITIMER_VIRTUAL, &often, nullptr));

  checkpoint_here();

  alarms = profiles = 0;
  const int64_t until = monotonic_ms() + 5000;
  while ((alarms < 10 || profiles < 10) && monotonic_ms() < until) {
  }
  EXPECT_GE(alarms, 10);
  EXPECT_GE(profiles, 10);
}
