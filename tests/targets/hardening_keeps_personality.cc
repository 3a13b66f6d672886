// SPDX-License-Identifier: Apache-2.0
#include <sys/personality.h>

#include "tests/target.h"

static int go_on;

TARGET() {
  OK(personality(ADDR_NO_RANDOMIZE | SHORT_INODE));
  TargetThread thread([] {
    personality(ADDR_NO_RANDOMIZE | WHOLE_SECONDS);
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0) sleep_ms(1);
    return personality(0xffffffff);
  });
  thread.tid();
  sleep_ms(20);

  checkpoint_here();

  EXPECT_EQ(personality(0xffffffff), ADDR_NO_RANDOMIZE | SHORT_INODE);
  __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
  EXPECT_EQ(thread.join(), ADDR_NO_RANDOMIZE | WHOLE_SECONDS);
}
