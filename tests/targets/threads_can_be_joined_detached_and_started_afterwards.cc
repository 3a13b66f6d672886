#include "tests/target.h"

static bool released;

TARGET() {
  auto body = [] {
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
    return 5;
  };
  TargetThread before(body);
  TargetThread ended([] { return 6; });
  static bool detached_ran;
  pthread_t detached;
  OK0(pthread_create(
      &detached, nullptr,
      [](void*) -> void* {
        while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
        __atomic_store_n(&detached_ran, true, __ATOMIC_SEQ_CST);
        return nullptr;
      },
      nullptr));
  OK0(pthread_detach(detached));
  before.tid();
  sleep_ms(20);  // `ended` has ended and is not joined yet

  checkpoint_here();

  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  EXPECT_EQ(before.join(), 5);
  EXPECT_EQ(ended.join(), 6);
  TargetThread fresh([] { return 7; });
  EXPECT_EQ(fresh.join(), 7);
  AWAIT(__atomic_load_n(&detached_ran, __ATOMIC_SEQ_CST));
  EXPECT(detached_ran);
}
