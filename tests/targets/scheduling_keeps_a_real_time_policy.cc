// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <sched.h>

#include "tests/target.h"

TARGET() {
  const sched_param param{.sched_priority = 5};
  if (sched_setscheduler(0, SCHED_RR, &param) != 0) SKIP("no real-time policy for us: %s", strerror(errno));

  checkpoint_here();

  sched_param now{};
  EXPECT_EQ(sched_getscheduler(0), SCHED_RR);
  OK(sched_getparam(0, &now));
  EXPECT_EQ(now.sched_priority, 5);
}
