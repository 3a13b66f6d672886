// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

static int go_on;

TARGET() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGRTMAX);
  OK0(pthread_sigmask(SIG_BLOCK, &set, nullptr));
  auto body = [set] {
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0) sleep_ms(1);
    siginfo_t info{};
    timespec none{};
    return sigtimedwait(&set, &info, &none) == SIGRTMAX ? info.si_value.sival_int : -1;
  };
  TargetThread first(body), second(body), third(body);
  OK0(pthread_sigqueue(first.handle(), SIGRTMAX, sigval{.sival_int = 1}));
  OK0(pthread_sigqueue(second.handle(), SIGRTMAX, sigval{.sival_int = 2}));
  OK0(pthread_kill(pthread_self(), SIGUSR1));

  checkpoint_here();

  __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
  EXPECT_EQ(first.join(), 1);
  EXPECT_EQ(second.join(), 2);
  EXPECT_EQ(third.join(), -1);
  siginfo_t info{};
  EXPECT_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  EXPECT_EQ(info.si_pid, getpid());
}
