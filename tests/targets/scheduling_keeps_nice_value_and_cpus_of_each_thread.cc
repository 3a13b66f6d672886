// SPDX-License-Identifier: Apache-2.0
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>

#include "tests/target.h"

static int go_on;

static int own_nice() {
  return getpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)));
}
static int own_cpus() {
  cpu_set_t set;
  OK(sched_getaffinity(0, sizeof set, &set));
  int bits = 0;
  for (int cpu = 0; cpu < 31; cpu++) bits |= CPU_ISSET(cpu, &set) ? 1 << cpu : 0;
  return bits;
}

TARGET() {
  const int all = own_cpus();
  const int own = own_nice() + 1;  // it may only be raised, and stands at 19 at the most
  const int other = own + 4;
  const int one = all & -all;
  TargetThread thread([one, other] {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(__builtin_ctz(static_cast<unsigned>(one)), &set);
    OK(sched_setaffinity(0, sizeof set, &set));
    OK(setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), other));
    const sched_param none{};
    OK(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &none));
    while (__atomic_load_n(&go_on, __ATOMIC_ACQUIRE) == 0) sleep_ms(1);
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH | SCHED_RESET_ON_FORK);
    EXPECT_EQ(own_cpus(), one);
    return own_nice();
  });
  OK(setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), own));
  thread.tid();
  sleep_ms(20);

  checkpoint_here();

  EXPECT_EQ(own_nice(), std::min(own, 19));
  EXPECT_EQ(own_cpus(), all);
  EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
  __atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
  EXPECT_EQ(thread.join(), std::min(other, 19));
}
