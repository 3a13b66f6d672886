// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "tests/target.h"

static int waited_for;

static void* wait_for_it(void*) {
  uint64_t count = 0;
  return read(waited_for, &count, sizeof count) == sizeof count && count == 1 ? &waited_for : nullptr;
}

static void* set_it_off(void* timer) {
  const itimerspec time{{0, 0}, {0, 1000}};
  OK(timerfd_settime(*static_cast<int*>(timer), 0, &time, nullptr));
  return nullptr;
}

TARGET() {
  const int poll = OK(epoll_create1(0));
  int ready = OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  int later = OK(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 1;
  OK(epoll_ctl(poll, EPOLL_CTL_ADD, ready, &event));
  event.data.u64 = 2;
  OK(epoll_ctl(poll, EPOLL_CTL_ADD, later, &event));
  set_it_off(&ready);
  EXPECT_EQ(OK(epoll_wait(poll, &event, 1, 10000)), 1);
  waited_for = OK(timerfd_create(CLOCK_MONOTONIC, 0));
  pthread_t thread{};
  OK0(pthread_create(&thread, nullptr, wait_for_it, nullptr));

  checkpoint_here();

  EXPECT_EQ(OK(epoll_wait(poll, &event, 1, 10000)), 1);
  EXPECT_EQ(event.data.u64, 1u);
  uint64_t count = 0;
  EXPECT_EQ(OK(read(ready, &count, sizeof count)), 8);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(OK(epoll_wait(poll, &event, 1, 0)), 0);
  set_it_off(&later);
  EXPECT_EQ(OK(epoll_wait(poll, &event, 1, 10000)), 1);
  EXPECT_EQ(event.data.u64, 2u);
  set_it_off(&waited_for);
  void* answer = nullptr;
  OK0(pthread_join(thread, &answer));
  EXPECT_EQ(answer, &waited_for);
}
