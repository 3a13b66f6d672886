#include "tests/target.h"

#include <sys/epoll.h>

// A watch belongs to the file and the number it had: the number may be closed or another file's by now.
TARGET() {
  int poller = OK(epoll_create1(0));
  int closed[2], reused[2];
  OK(pipe(closed));
  OK(pipe(reused));
  int file = OK(open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = 1;
  OK(epoll_ctl(poller, EPOLL_CTL_ADD, closed[0], &event));
  event.data.u64 = 2;
  OK(epoll_ctl(poller, EPOLL_CTL_ADD, reused[0], &event));
  int closed_now = OK(fcntl(closed[0], F_DUPFD, 100));
  OK(close(closed[0]));
  int reused_now = OK(fcntl(reused[0], F_DUPFD, 100));
  OK(dup3(file, reused[0], O_CLOEXEC));
  struct stat before;
  OK(fstat(reused[0], &before));

  checkpoint_here();

  EXPECT_EQ(fcntl(closed[0], F_GETFD), -1);
  EXPECT_EQ(fcntl(reused[0], F_GETFD), FD_CLOEXEC);
  struct stat after;
  OK(fstat(reused[0], &after));
  EXPECT_EQ(before.st_ino, after.st_ino);
  struct epoll_event found[4] = {};
  EXPECT_EQ(epoll_wait(poller, found, 4, 0), 0);
  OK(write(closed[1], "x", 1));
  EXPECT_EQ(epoll_wait(poller, found, 4, 0), 1);
  EXPECT_EQ(found[0].data.u64, 1u);
  char byte;
  OK(read(closed_now, &byte, 1));
  OK(write(reused[1], "x", 1));
  EXPECT_EQ(epoll_wait(poller, found, 4, 0), 1);
  EXPECT_EQ(found[0].data.u64, 2u);
  OK(read(reused_now, &byte, 1));
  // The number it had then is part of the watch: with it the watch can be removed again once the file stands
  // there.
  OK(dup2(closed_now, closed[0]));
  OK(epoll_ctl(poller, EPOLL_CTL_DEL, closed[0], nullptr));
}
