// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "tests/target.h"

TARGET() {
  sigset_t both, one;
  sigemptyset(&both);
  sigaddset(&both, SIGUSR1);
  sigaddset(&both, SIGRTMIN + 3);
  sigemptyset(&one);
  sigaddset(&one, SIGUSR2);
  OK0(pthread_sigmask(SIG_BLOCK, &both, nullptr));
  OK0(pthread_sigmask(SIG_BLOCK, &one, nullptr));
  const int two = OK(signalfd(-1, &both, SFD_NONBLOCK));
  const int other = OK(signalfd(-1, &one, SFD_CLOEXEC));
  const int poll = OK(epoll_create1(0));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 7;
  OK(epoll_ctl(poll, EPOLL_CTL_ADD, two, &event));
  sigval value{};
  value.sival_int = 4711;
  OK(sigqueue(getpid(), SIGRTMIN + 3, value));

  checkpoint_here();

  EXPECT_EQ(OK(epoll_wait(poll, &event, 1, 10000)), 1);
  EXPECT_EQ(event.data.u64, 7u);
  signalfd_siginfo told{};
  EXPECT_EQ(OK(read(two, &told, sizeof told)), static_cast<ssize_t>(sizeof told));
  EXPECT_EQ(told.ssi_signo, static_cast<unsigned>(SIGRTMIN + 3));
  EXPECT_EQ(told.ssi_int, 4711);
  EXPECT_ERRNO(read(two, &told, sizeof told), EAGAIN);
  OK(kill(getpid(), SIGUSR1));
  EXPECT_EQ(OK(epoll_wait(poll, &event, 1, 10000)), 1);
  EXPECT_EQ(OK(read(two, &told, sizeof told)), static_cast<ssize_t>(sizeof told));
  EXPECT_EQ(told.ssi_signo, static_cast<unsigned>(SIGUSR1));
  // The other one tells of SIGUSR2 alone.
  OK(kill(getpid(), SIGUSR1));
  OK(kill(getpid(), SIGUSR2));
  EXPECT_EQ(OK(read(other, &told, sizeof told)), static_cast<ssize_t>(sizeof told));
  EXPECT_EQ(told.ssi_signo, static_cast<unsigned>(SIGUSR2));
  EXPECT_EQ(fcntl(other, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(fcntl(other, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(OK(read(two, &told, sizeof told)), static_cast<ssize_t>(sizeof told));
}
