// SPDX-License-Identifier: Apache-2.0
// dead-time: 2
#include <poll.h>
#include <sys/timerfd.h>

#include "tests/target.h"

// The wall clock goes on while the process is dead, so that what was due has expired; what runs by the other
// clocks has the rest of its time left.
TARGET() {
  timespec now{};
  OK(clock_gettime(CLOCK_REALTIME, &now));
  const int wall = OK(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  itimerspec time{{0, 0}, {now.tv_sec + 1000, now.tv_nsec}};
  OK(timerfd_settime(wall, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &time, nullptr));
  const int far = OK(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  const timespec due{now.tv_sec + 10000, now.tv_nsec};
  time = {{0, 0}, due};
  OK(timerfd_settime(far, TFD_TIMER_ABSTIME, &time, nullptr));
  OK(clock_gettime(CLOCK_MONOTONIC, &now));
  const int own = OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  time = {{0, 0}, {now.tv_sec + 1000, now.tv_nsec}};
  OK(timerfd_settime(own, TFD_TIMER_ABSTIME, &time, nullptr));

  checkpoint_here();

  OK(timerfd_gettime(wall, &time));
  EXPECT_LE(time.it_value.tv_sec, 1000);
  EXPECT_GE(time.it_value.tv_sec, 900);
  // The very point in time: what is left and what has passed are the span that there was.
  OK(clock_gettime(CLOCK_REALTIME, &now));
  OK(timerfd_gettime(far, &time));
  const long long left = time.it_value.tv_sec * 1000LL + time.it_value.tv_nsec / 1000000;
  const long long wanted = (due.tv_sec - now.tv_sec) * 1000LL + (due.tv_nsec - now.tv_nsec) / 1000000;
  EXPECT_LE(left, wanted + 500);
  EXPECT_GE(left, wanted - 10000);
  OK(timerfd_gettime(own, &time));
  EXPECT_LE(time.it_value.tv_sec, 1000);
  EXPECT_GE(time.it_value.tv_sec, 900);
}
