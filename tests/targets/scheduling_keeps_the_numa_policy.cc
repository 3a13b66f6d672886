// SPDX-License-Identifier: Apache-2.0
#include <linux/mempolicy.h>

#include "tests/target.h"

TARGET() {
  unsigned long nodes[16] = {1};
  if (syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, nodes, 1024) != 0)
    SKIP("no NUMA policy: %s", strerror(errno));

  checkpoint_here();

  int mode = 0;
  unsigned long now[16] = {};
  OK(syscall(SYS_get_mempolicy, &mode, now, 1024, 0, 0));
  EXPECT_EQ(mode, MPOL_INTERLEAVE);
  EXPECT_EQ(now[0], 1u);
}
