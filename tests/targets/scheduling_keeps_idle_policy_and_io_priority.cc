// SPDX-License-Identifier: Apache-2.0
#include <linux/ioprio.h>
#include <sched.h>

#include "tests/target.h"

TARGET() {
  const sched_param none{};
  OK(sched_setscheduler(0, SCHED_IDLE, &none));
  OK(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)));

  checkpoint_here();

  EXPECT_EQ(sched_getscheduler(0), SCHED_IDLE);
  EXPECT_EQ(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
}
