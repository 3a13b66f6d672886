// settle: 0.1
#include "tests/target.h"

TARGET() {
  static bool released;
  static pthread_barrier_t barrier;
  static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
  OK0(pthread_barrier_init(&barrier, nullptr, 3));
  OK0(pthread_rwlock_rdlock(&lock));
  static pthread_t last;
  OK0(pthread_create(
      &last, nullptr,
      [](void*) -> void* {
        while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
        return &released;
      },
      nullptr));

  begin_checkpoint();
  TargetThread joiner([] {
    void* answer = nullptr;
    return pthread_join(last, &answer) == 0 && answer == &released;
  });
  TargetThread first([] { return pthread_barrier_wait(&barrier); });
  TargetThread second([] { return pthread_barrier_wait(&barrier); });
  TargetThread writer([] { return pthread_rwlock_wrlock(&lock) + pthread_rwlock_unlock(&lock); });
  end_checkpoint();

  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  EXPECT_EQ(joiner.join(), 1);
  int serial =
      pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;  // NOLINT: -1 is no error here
  serial += first.join() == PTHREAD_BARRIER_SERIAL_THREAD;
  serial += second.join() == PTHREAD_BARRIER_SERIAL_THREAD;
  EXPECT_EQ(serial, 1);
  OK0(pthread_rwlock_unlock(&lock));
  EXPECT_EQ(writer.join(), 0);
}
