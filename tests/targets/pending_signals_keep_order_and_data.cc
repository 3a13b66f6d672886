// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

static siginfo_t next_pending(const sigset_t& set) {
  siginfo_t info{};
  timespec none{};
  if (sigtimedwait(&set, &info, &none) < 0) info.si_signo = 0;
  return info;
}

TARGET() {
  sigset_t all;
  sigfillset(&all);
  OK(sigprocmask(SIG_BLOCK, &all, nullptr));
  const int queued = SIGRTMIN + 1;
  for (int i = 0; i < 20; i++) OK(sigqueue(getpid(), queued, sigval{.sival_int = 1000 + i}));
  OK(sigqueue(getpid(), SIGUSR1, sigval{.sival_ptr = reinterpret_cast<void*>(0x123456789abcdef0)}));
  OK(kill(getpid(), SIGTERM));
  const pid_t self = getpid();

  checkpoint_here();

  siginfo_t info = next_pending(all);
  EXPECT_EQ(info.si_signo, SIGUSR1);
  EXPECT_EQ(info.si_code, SI_QUEUE);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(info.si_value.sival_ptr), 0x123456789abcdef0u);
  info = next_pending(all);
  EXPECT_EQ(info.si_signo, SIGTERM);
  EXPECT_EQ(info.si_code, SI_USER);
  EXPECT_EQ(info.si_pid, self);
  EXPECT_EQ(info.si_uid, getuid());
  for (int i = 0; i < 20; i++) {
    info = next_pending(all);
    EXPECT_EQ(info.si_signo, queued);
    EXPECT_EQ(info.si_value.sival_int, 1000 + i);
  }
  EXPECT_EQ(next_pending(all).si_signo, 0);
}
