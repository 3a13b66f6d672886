// expect: refused epoll one-shot EPOLL_CTL_MOD
#include "tests/target.h"

#include <sys/epoll.h>

TARGET() {
  int poller = OK(epoll_create1(0));
  int ends[2];
  OK(pipe(ends));
  struct epoll_event event = {};
  event.events = EPOLLIN | EPOLLONESHOT;
  OK(epoll_ctl(poller, EPOLL_CTL_ADD, ends[0], &event));
  OK(write(ends[1], "x", 1));
  EXPECT_EQ(epoll_wait(poller, &event, 1, 0), 1);
  char byte;
  OK(read(ends[0], &byte, 1));

  checkpoint_here();

  OK(write(ends[1], "x", 1));
  EXPECT_EQ(epoll_wait(poller, &event, 1, 0), 0);
}
