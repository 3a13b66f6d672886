// SPDX-License-Identifier: Apache-2.0
#include <linux/membarrier.h>

#include "tests/target.h"

static long membarrier(int command) {
  return syscall(SYS_membarrier, command, 0, 0);
}

TARGET() {
  const long supported = membarrier(MEMBARRIER_CMD_QUERY);
  if (supported < 0 || (supported & MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) SKIP("no membarrier(2)");
  OK(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));

  checkpoint_here();

  EXPECT_EQ(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), 0);
  EXPECT_ERRNO(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE), EPERM);
}
