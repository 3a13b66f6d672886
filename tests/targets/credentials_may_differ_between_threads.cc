// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <sys/prctl.h>

#include "tests/target.h"

static int go_on;

TARGET() {
  TargetThread thread([] {
    OK(syscall(SYS_setresuid, 2001, 2001, 2001));  // this thread alone
    OK(prctl(PR_SET_DUMPABLE, 1));
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0) sleep_ms(1);
    return static_cast<int>(syscall(SYS_getuid));
  });
  thread.tid();
  sleep_ms(20);

  checkpoint_here();

  EXPECT_EQ(syscall(SYS_getuid), 0);
  EXPECT_EQ(syscall(SYS_geteuid), 0);
  __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
  EXPECT_EQ(thread.join(), 2001);
}
