// SPDX-License-Identifier: Apache-2.0
// outside-view: skip maps smaps threads status
#include <signal.h>

#include "tests/target.h"

static int calls;
static void on_timer(sigval value) {
  __atomic_add_fetch(&calls, value.sival_int, __ATOMIC_SEQ_CST);
}

TARGET() {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = on_timer;
  event.sigev_value.sival_int = 1;
  timer_t timer{};
  OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
  const itimerspec often{{0, 10000000}, {0, 10000000}};
  OK(timer_settime(timer, 0, &often, nullptr));
  AWAIT(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) > 0);

  checkpoint_here();

  const int before = __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
  AWAIT(__atomic_load_n(&calls, __ATOMIC_SEQ_CST) > before + 3);
  OK(timer_delete(timer));
  EXPECT_GE(calls, before + 3);
}
