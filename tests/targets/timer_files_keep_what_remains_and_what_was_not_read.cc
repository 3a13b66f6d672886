// SPDX-License-Identifier: Apache-2.0
// dead-time: 1
#include <poll.h>
#include <sys/timerfd.h>

#include <initializer_list>

#include "tests/target.h"

static int make(clockid_t clock, int flags, itimerspec time) {
  const int fd = OK(timerfd_create(clock, flags));
  OK(timerfd_settime(fd, 0, &time, nullptr));
  return fd;
}

static uint64_t expirations(int fd) {
  uint64_t count = 0;
  return read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

TARGET() {
  const int monotonic = make(CLOCK_MONOTONIC, TFD_NONBLOCK, {{3, 21}, {1000, 500}});
  const int boot = make(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC, {{0, 0}, {1000, 0}});
  const int wall = make(CLOCK_REALTIME, 0, {{0, 0}, {1000, 0}});
  const int idle = OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const int once = make(CLOCK_MONOTONIC, TFD_NONBLOCK, {{0, 0}, {0, 1}});
  const int often = make(CLOCK_MONOTONIC, TFD_NONBLOCK, {{0, 1000}, {0, 1000}});
  const int again = OK(dup(monotonic));
  for (const int fd : {once, often}) {
    pollfd ready{fd, POLLIN, 0};
    EXPECT_EQ(OK(poll(&ready, 1, 10000)), 1);
  }
  // A few hundred thousand: a count that began anew would be far below.
  usleep(300000);

  checkpoint_here();

  itimerspec time{};
  for (const int fd : {monotonic, again}) {
    OK(timerfd_gettime(fd, &time));
    EXPECT_EQ(time.it_interval.tv_sec, 3);
    EXPECT_EQ(time.it_interval.tv_nsec, 21);
    EXPECT_LE(time.it_value.tv_sec, 1000);
    EXPECT_GE(time.it_value.tv_sec, 900);
  }
  for (const int fd : {boot, wall}) {
    OK(timerfd_gettime(fd, &time));
    EXPECT_EQ(time.it_interval.tv_sec, 0);
    EXPECT_LE(time.it_value.tv_sec, 1000);
    EXPECT_GE(time.it_value.tv_sec, 900);
  }
  OK(timerfd_gettime(idle, &time));
  EXPECT_EQ(time.it_value.tv_sec, 0);
  EXPECT_EQ(time.it_value.tv_nsec, 0);
  EXPECT_EQ(expirations(idle), 0u);
  EXPECT_EQ(expirations(once), 1u);
  EXPECT_EQ(expirations(once), 0u);
  EXPECT_GE(expirations(often), 300000u);
  EXPECT_EQ(fcntl(wall, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(fcntl(boot, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(boot, F_GETFD), FD_CLOEXEC);

  // They still work.
  time = {{0, 0}, {0, 1000}};
  OK(timerfd_settime(idle, 0, &time, nullptr));
  pollfd ready{idle, POLLIN, 0};
  EXPECT_EQ(OK(poll(&ready, 1, 10000)), 1);
  EXPECT_EQ(expirations(idle), 1u);
}
