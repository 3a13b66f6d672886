#include "tests/target.h"

#include <sched.h>
#include <sys/rseq.h>

// The kernel writes the processor number into a registered area whenever the thread is moved.
static bool registered() {
  auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
  for (int i = 0; i < 200; i++) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(i % 2), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) return true;  // one processor only: nothing to see
    if (__atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED) != static_cast<unsigned>(i % 2)) return false;
  }
  // The same registration again is refused with EBUSY: rseq(2).
  return syscall(SYS_rseq, area, 32, 0, RSEQ_SIG) == -1 && errno == EBUSY;
}

static bool released;

TARGET() {
  if (__rseq_size == 0) SKIP("the C library registers no rseq area");
  auto body = [] {
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
    return registered();
  };
  TargetThread one(body);
  TargetThread two(body);

  checkpoint_here();

  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  EXPECT_EQ(one.join(), 1);
  EXPECT_EQ(two.join(), 1);
  EXPECT(registered());
  TargetThread fresh([] { return registered(); });
  EXPECT_EQ(fresh.join(), 1);
}
