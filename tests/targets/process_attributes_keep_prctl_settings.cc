// SPDX-License-Identifier: Apache-2.0
#include <sys/prctl.h>

#include "tests/target.h"

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

static long thread_slack(long set) {
  if (set != 0) OK(prctl(PR_SET_TIMERSLACK, set));
  return prctl(PR_GET_TIMERSLACK);
}
static int go_on;

TARGET() {
  OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
  OK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
  const bool can_merge = prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) == 0;
  const bool has_policy = prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0;
  thread_slack(123000);
  TargetThread thread([] {
    thread_slack(456000);
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0) sleep_ms(1);
    return thread_slack(0);
  });
  const int filter = OK(open("/proc/self/coredump_filter", O_RDWR));
  OK(write(filter, "0x15", 4));
  close(filter);
  thread.tid();
  sleep_ms(20);

  checkpoint_here();

  int subreaper = 0;
  OK(prctl(PR_GET_CHILD_SUBREAPER, &subreaper));
  EXPECT_EQ(subreaper, 1);
  EXPECT_EQ(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), 1);
  if (can_merge) EXPECT_EQ(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0), 1);
  if (has_policy) EXPECT_EQ(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), PR_MCE_KILL_EARLY);
  EXPECT_EQ(thread_slack(0), 123000);
  __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
  EXPECT_EQ(thread.join(), 456000);
  EXPECT_STR(read_text("/proc/self/coredump_filter"), "00000015\n");
}
