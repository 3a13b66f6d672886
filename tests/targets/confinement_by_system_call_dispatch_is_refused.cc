// SPDX-License-Identifier: Apache-2.0
// expect: refused PR_SET_SYSCALL_USER_DISPATCH
#include <linux/prctl.h>
#include <sys/prctl.h>

#include "tests/target.h"

TARGET() {
  static char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector) != 0) SKIP("no dispatch");

  checkpoint_here();

  EXPECT_EQ(selector, SYSCALL_DISPATCH_FILTER_ALLOW);
}
