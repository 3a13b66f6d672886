#include "tests/target.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static int poller;

static void watch(int fd, uint32_t events, uint64_t data) {
  struct epoll_event event = {};
  event.events = events;
  event.data.u64 = data;
  OK(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event));
}

// All that is ready now, as a sum of the data; each watch has its own power of two.
static uint64_t ready() {
  struct epoll_event events[16];
  uint64_t sum = 0;
  int count = OK(epoll_wait(poller, events, 16, 0));
  for (int i = 0; i < count; ++i) sum += events[i].data.u64;
  return sum;
}

TARGET() {
  poller = OK(epoll_create1(EPOLL_CLOEXEC));
  int quiet[2], level[2], edge[2], fired[2], armed[2], inner_pipe[2];
  int* const all[] = {quiet, level, edge, fired, armed, inner_pipe};
  for (int* ends : all) OK(pipe2(ends, O_NONBLOCK));
  int inner = OK(epoll_create1(0));
  watch(quiet[0], EPOLLIN, 1);
  watch(level[0], EPOLLIN, 2);
  watch(edge[0], EPOLLIN | EPOLLET, 4);
  watch(fired[0], EPOLLIN | EPOLLONESHOT, 8);
  watch(armed[0], EPOLLIN | EPOLLONESHOT, 16);
  watch(inner, EPOLLIN, 32);
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = UINT64_C(0xfedcba9876543210);
  OK(epoll_ctl(inner, EPOLL_CTL_ADD, inner_pipe[0], &event));
  OK(write(level[1], "x", 1));
  OK(write(fired[1], "x", 1));
  EXPECT_EQ(ready(), 2u + 8u);  // takes the one shot
  EXPECT_EQ(ready(), 2u);
  int saved_poller = poller;

  checkpoint_here();

  EXPECT_EQ(poller, saved_poller);
  EXPECT_EQ(fcntl(poller, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(ready(), 2u);  // the shot stays fired
  OK(write(edge[1], "x", 1));
  EXPECT_EQ(ready(), 2u + 4u);
  EXPECT_EQ(ready(), 2u);  // an edge is told once
  OK(write(armed[1], "x", 1));
  EXPECT_EQ(ready(), 2u + 16u);
  EXPECT_EQ(ready(), 2u);
  OK(write(inner_pipe[1], "x", 1));
  EXPECT_EQ(ready(), 2u + 32u);
  struct epoll_event found = {};
  EXPECT_EQ(epoll_wait(inner, &found, 1, 0), 1);
  EXPECT(found.data.u64 == UINT64_C(0xfedcba9876543210));
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 = 64;
  OK(epoll_ctl(poller, EPOLL_CTL_MOD, fired[0], &event));
  EXPECT_EQ(ready(), 2u + 32u + 64u);
  OK(epoll_ctl(poller, EPOLL_CTL_DEL, level[0], nullptr));
  EXPECT_EQ(ready(), 32u);
}
