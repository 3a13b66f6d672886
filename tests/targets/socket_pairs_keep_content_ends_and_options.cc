// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "tests/target.h"

static int option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  OK(getsockopt(fd, SOL_SOCKET, name, &value, &size));
  return value;
}

static void expect_text(int fd, const char* text) {
  char buffer[100] = "";
  EXPECT_EQ(recv(fd, buffer, sizeof buffer - 1, MSG_DONTWAIT), static_cast<ssize_t>(strlen(text)));
  EXPECT_STR(buffer, text);
}

TARGET() {
  int both[2], shut[2], packets[2], messages[2];
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, both));
  OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, shut));
  OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets));
  OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, messages));
  OK(write(both[0], "to ", 3));
  OK(write(both[0], "one", 3));
  OK(write(both[1], "to zero", 7));
  const int bytes = 60000;
  OK(setsockopt(both[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes));
  OK(setsockopt(both[1], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes));
  timeval limit{5, 250000};
  OK(setsockopt(both[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  socklen_t size = sizeof limit;
  OK(getsockopt(both[1], SOL_SOCKET, SO_RCVTIMEO, &limit, &size));  // the kernel counts in ticks
  const int send_buffer = option(both[0], SO_SNDBUF), receive_buffer = option(both[1], SO_RCVBUF);
  OK(write(shut[0], "the last", 8));
  OK(shutdown(shut[0], SHUT_WR));
  const int again = OK(dup(both[1]));
  const int poll_fd = OK(epoll_create1(0));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 5;
  OK(epoll_ctl(poll_fd, EPOLL_CTL_ADD, both[1], &event));

  checkpoint_here();

  EXPECT_EQ(OK(epoll_wait(poll_fd, &event, 1, 10000)), 1);
  EXPECT_EQ(event.data.u64, 5u);
  EXPECT_EQ(option(both[0], SO_SNDBUF), send_buffer);
  EXPECT_EQ(option(both[1], SO_RCVBUF), receive_buffer);
  timeval now{};
  size = sizeof now;
  OK(getsockopt(both[1], SOL_SOCKET, SO_RCVTIMEO, &now, &size));
  EXPECT_EQ(now.tv_sec, limit.tv_sec);
  EXPECT_EQ(now.tv_usec, limit.tv_usec);
  ucred peer{};
  size = sizeof peer;
  OK(getsockopt(both[0], SOL_SOCKET, SO_PEERCRED, &peer, &size));
  EXPECT_EQ(peer.pid, getpid());
  EXPECT_EQ(peer.uid, geteuid());
  EXPECT_EQ(peer.gid, getegid());
  expect_text(again, "to one");
  expect_text(both[0], "to zero");
  OK(write(both[1], "answer", 6));
  expect_text(both[0], "answer");

  EXPECT_EQ(fcntl(shut[1], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(shut[1], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(both[0], F_GETFL) & O_NONBLOCK, 0);
  expect_text(shut[1], "the last");
  char byte = 0;
  EXPECT_EQ(recv(shut[1], &byte, 1, 0), 0);  // its end
  EXPECT_ERRNO(send(shut[0], "x", 1, MSG_NOSIGNAL), EPIPE);
  OK(write(shut[1], "back", 4));
  expect_text(shut[0], "back");

  EXPECT_ERRNO(recv(packets[0], &byte, 1, MSG_DONTWAIT), EAGAIN);
  OK(send(packets[0], "ab", 2, 0));
  OK(send(packets[0], "c", 1, 0));
  expect_text(packets[1], "ab");
  expect_text(packets[1], "c");
  OK(send(messages[0], "m", 1, 0));
  expect_text(messages[1], "m");
}
