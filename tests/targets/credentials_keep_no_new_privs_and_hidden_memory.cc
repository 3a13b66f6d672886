// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <sys/prctl.h>

#include "tests/target.h"

TARGET() {
  OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  OK(prctl(PR_SET_DUMPABLE, 0));

  checkpoint_here();

  EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE), 0);
}
