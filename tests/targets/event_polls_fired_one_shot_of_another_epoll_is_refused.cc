// expect: refused epoll one-shot EPOLL_CTL_MOD
#include "tests/target.h"

#include <sys/epoll.h>

TARGET() {
  int outer = OK(epoll_create1(0));
  int inner = OK(epoll_create1(0));
  int ends[2];
  OK(pipe(ends));
  struct epoll_event event = {};
  event.events = EPOLLIN;
  OK(epoll_ctl(inner, EPOLL_CTL_ADD, ends[0], &event));
  event.events = EPOLLIN | EPOLLONESHOT;
  OK(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event));
  OK(write(ends[1], "x", 1));
  EXPECT_EQ(epoll_wait(outer, &event, 1, 0), 1);

  checkpoint_here();

  EXPECT_EQ(epoll_wait(outer, &event, 1, 0), 0);
}
