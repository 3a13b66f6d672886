// timeout: 40
#include "tests/target.h"

static bool released;

static void* live(void* argument) {
  pid_t tid = static_cast<pid_t>(syscall(SYS_gettid));
  long me = reinterpret_cast<long>(argument);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(20);
  return reinterpret_cast<void*>(tid == syscall(SYS_gettid) ? me : -1);
}

TARGET() {
  constexpr long count = 500;
  static pthread_t threads[count];
  pthread_attr_t attributes;
  OK0(pthread_attr_init(&attributes));
  OK0(pthread_attr_setstacksize(&attributes, 64 << 10));
  for (long i = 0; i < count; i++) {
    int error = pthread_create(&threads[i], &attributes, live, reinterpret_cast<void*>(i));
    if (error != 0) SKIP("%ld threads are allowed: %s", i, strerror(error));
  }

  checkpoint_here();

  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  long good = 0;
  for (long i = 0; i < count; i++) {
    void* answer = nullptr;
    OK0(pthread_join(threads[i], &answer));
    good += reinterpret_cast<long>(answer) == i;
  }
  EXPECT_EQ(good, count);
}
