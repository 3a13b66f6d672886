// outside-view: skip threads status maps smaps
// timeout: 40
#include "tests/target.h"

static bool stop;

TARGET() {
  auto churn = [] {
    long made = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
      TargetThread one([] { return 1; });
      TargetThread two([] { return 2; });
      if (one.join() != 1 || two.join() != 2) return -1L;
      made += 2;
    }
    return made;
  };
  TargetThread first(churn);
  TargetThread second(churn);
  sleep_ms(20);

  checkpoint_here();

  sleep_ms(20);
  __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
  EXPECT_GE(first.join(), 2);
  EXPECT_GE(second.join(), 2);
}
