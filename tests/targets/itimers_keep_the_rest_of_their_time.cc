// SPDX-License-Identifier: Apache-2.0
// dead-time: 1
#include <sys/time.h>

#include "tests/target.h"

static long long us(const timeval& time) {
  return time.tv_sec * 1000000ll + time.tv_usec;
}

TARGET() {
  const itimerval real{{7, 5}, {1000, 0}}, profiling{{0, 0}, {500, 250}};
  OK(setitimer(ITIMER_REAL, &real, nullptr));
  OK(setitimer(ITIMER_PROF, &profiling, nullptr));

  checkpoint_here();

  itimerval now{};
  OK(getitimer(ITIMER_REAL, &now));
  EXPECT_EQ(us(now.it_interval), 7000005);
  EXPECT_LE(us(now.it_value), 1000 * 1000000ll);
  EXPECT_GE(us(now.it_value), 980 * 1000000ll);
  OK(getitimer(ITIMER_PROF, &now));
  EXPECT_EQ(us(now.it_interval), 0);
  EXPECT_GE(us(now.it_value), 480 * 1000000ll);
  EXPECT_LE(us(now.it_value), 501 * 1000000ll);
  OK(getitimer(ITIMER_VIRTUAL, &now));
  EXPECT_EQ(us(now.it_value), 0);
}
