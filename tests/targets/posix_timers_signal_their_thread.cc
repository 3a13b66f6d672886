// SPDX-License-Identifier: Apache-2.0
// outside-view: skip threads
#include <signal.h>

#include "tests/target.h"

static int go_on;
static __thread int received;
static void handle(int) {
  received++;
}

TARGET() {
  signal(SIGRTMIN, handle);
  TargetThread thread([] {
    const int64_t until = monotonic_ms() + 10000;
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0 && monotonic_ms() < until) sleep_ms(1);
    received = 0;
    while (received < 5 && monotonic_ms() < until) sleep_ms(1);
    return received;
  });
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGRTMIN;
  event._sigev_un._tid = thread.tid();
  timer_t timer{};
  OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
  const itimerspec often{{0, 3000000}, {0, 3000000}};
  OK(timer_settime(timer, 0, &often, nullptr));

  checkpoint_here();

  received = 0;
  __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
  EXPECT_GE(thread.join(), 5);
  EXPECT_EQ(received, 0);
}
