// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

static int process_ticks, thread_ticks;
static void on_process(int) {
  process_ticks++;
}
static void on_thread(int) {
  thread_ticks++;
}

static void start(clockid_t clock, int signal_number) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = signal_number;
  timer_t timer{};
  OK(timer_create(clock, &event, &timer));
  const itimerspec often{{0, 10000000}, {0, 10000000}};
  OK(timer_settime(timer, 0, &often, nullptr));
}

TARGET() {
  signal(SIGUSR1, on_process);
  signal(SIGUSR2, on_thread);
  start(CLOCK_PROCESS_CPUTIME_ID, SIGUSR1);
  start(CLOCK_THREAD_CPUTIME_ID, SIGUSR2);

  checkpoint_here();

  process_ticks = thread_ticks = 0;
  const int64_t until = monotonic_ms() + 5000;
  while ((process_ticks < 5 || thread_ticks < 5) && monotonic_ms() < until) {
  }
  EXPECT_GE(process_ticks, 5);
  EXPECT_GE(thread_ticks, 5);
}
