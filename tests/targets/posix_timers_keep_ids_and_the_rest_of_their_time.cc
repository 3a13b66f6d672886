// SPDX-License-Identifier: Apache-2.0
// dead-time: 1
#include <signal.h>

#include <initializer_list>

#include "tests/target.h"

// The kernel's own ids, which the C library hides.
static int create(clockid_t clock, int notify, int signal_number) {
  sigevent event{};
  event.sigev_notify = notify;
  event.sigev_signo = signal_number;
  event.sigev_value.sival_ptr =
      reinterpret_cast<void*>(0xfeedfacecafe0000 + static_cast<unsigned>(signal_number));
  int id = -1;
  OK(syscall(SYS_timer_create, clock, &event, &id));
  return id;
}

TARGET() {
  const int gone = create(CLOCK_MONOTONIC, SIGEV_NONE, 0);
  const int armed = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1);
  const int gone_too = create(CLOCK_BOOTTIME, SIGEV_NONE, 0);
  const int idle = create(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 2);
  const int silent = create(CLOCK_BOOTTIME, SIGEV_NONE, 0);
  OK(syscall(SYS_timer_delete, gone));
  OK(syscall(SYS_timer_delete, gone_too));
  itimerspec time{{3, 21}, {1000, 500}};
  OK(syscall(SYS_timer_settime, armed, 0, &time, nullptr));
  OK(syscall(SYS_timer_settime, silent, 0, &time, nullptr));

  checkpoint_here();

  for (const int id : {armed, silent}) {
    OK(syscall(SYS_timer_gettime, id, &time));
    EXPECT_EQ(time.it_interval.tv_sec, 3);
    EXPECT_EQ(time.it_interval.tv_nsec, 21);
    EXPECT_LE(time.it_value.tv_sec, 1000);
    EXPECT_GE(time.it_value.tv_sec, 980);
  }
  OK(syscall(SYS_timer_gettime, idle, &time));
  EXPECT_EQ(time.it_value.tv_sec, 0);
  EXPECT_EQ(time.it_value.tv_nsec, 0);
  EXPECT_ERRNO(syscall(SYS_timer_gettime, gone, &time), EINVAL);
  EXPECT_ERRNO(syscall(SYS_timer_gettime, gone_too, &time), EINVAL);

  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 2);
  OK(sigprocmask(SIG_BLOCK, &set, nullptr));
  time = {{0, 0}, {0, 1000}};
  OK(syscall(SYS_timer_settime, idle, 0, &time, nullptr));
  siginfo_t info{};
  EXPECT_EQ(sigwaitinfo(&set, &info), SIGRTMIN + 2);
  EXPECT_EQ(info.si_code, SI_TIMER);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(info.si_value.sival_ptr),
            0xfeedfacecafe0000u + static_cast<unsigned>(SIGRTMIN + 2));
}
