#include "tests/target.h"

static thread_local int initialised = 40;
static thread_local long zeroed;
static thread_local char large[20000];
static int go;

static bool round(int me) {
  pid_t tid = static_cast<pid_t>(syscall(SYS_gettid));
  pthread_t self = pthread_self();
  errno = me;
  initialised += me;
  zeroed = me * 1000;
  large[me * 100] = static_cast<char>(me);
  __atomic_add_fetch(&go, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&go, __ATOMIC_SEQ_CST) < 100) syscall(SYS_sched_yield);
  return errno == me && initialised == 40 + me && zeroed == me * 1000 && large[me * 100] == me &&
         tid == syscall(SYS_gettid) && pthread_equal(self, pthread_self()) != 0;
}

TARGET() {
  TargetThread one([] { return round(1); });
  TargetThread two([] { return round(2); });
  TargetThread three([] { return round(3); });
  pid_t tids[] = {one.tid(), two.tid(), three.tid()};
  initialised = 7;
  AWAIT(__atomic_load_n(&go, __ATOMIC_SEQ_CST) == 3);

  checkpoint_here();

  EXPECT_EQ(initialised, 7);
  EXPECT_EQ(tids[0], one.tid());
  for (pid_t tid : tids) EXPECT_EQ(syscall(SYS_tgkill, getpid(), tid, 0), 0);
  __atomic_store_n(&go, 100, __ATOMIC_SEQ_CST);
  EXPECT_EQ(one.join(), 1);
  EXPECT_EQ(two.join(), 1);
  EXPECT_EQ(three.join(), 1);
}
