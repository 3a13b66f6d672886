// SPDX-License-Identifier: Apache-2.0
// needs: root
// expect: refused uts network
#include <sched.h>

#include "tests/target.h"

TARGET() {
  OK(unshare(CLONE_NEWUTS | CLONE_NEWNET));

  checkpoint_here();

  EXPECT_EQ(access("/proc/self/ns/uts", F_OK), 0);
}
