#include "tests/target.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static bool ready;
static bool released;

static bool live() {
  pid_t me = static_cast<pid_t>(syscall(SYS_gettid));
  OK(setpriority(PRIO_PROCESS, static_cast<id_t>(me), 11));
  struct sched_param none = {};
  OK(sched_setscheduler(me, SCHED_BATCH, &none));
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  bool pinned = sched_setaffinity(me, sizeof set, &set) == 0;
  OK(prctl(PR_SET_TIMERSLACK, 123456));
  constexpr int idle = 3 << 13;                        // IOPRIO_CLASS_IDLE
  bool io = syscall(SYS_ioprio_set, 1, 0, idle) == 0;  // IOPRIO_WHO_PROCESS
  __atomic_store_n(&ready, true, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);

  EXPECT_EQ(getpriority(PRIO_PROCESS, static_cast<id_t>(me)), 11);
  EXPECT_EQ(sched_getscheduler(me), SCHED_BATCH);
  CPU_ZERO(&set);
  OK(sched_getaffinity(me, sizeof set, &set));
  if (pinned) EXPECT(CPU_COUNT(&set) == 1 && CPU_ISSET(0, &set));
  EXPECT_EQ(prctl(PR_GET_TIMERSLACK), 123456);
  if (io) EXPECT_EQ(syscall(SYS_ioprio_get, 1, 0), idle);
  return true;
}

TARGET() {
  const int nice_value = getpriority(PRIO_PROCESS, 0);
  TargetThread thread(live);
  AWAIT(__atomic_load_n(&ready, __ATOMIC_SEQ_CST));

  checkpoint_here();

  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  thread.join();
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), nice_value);  // the others were not touched
  EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
  EXPECT_EQ(prctl(PR_GET_TIMERSLACK), 50000);
}
