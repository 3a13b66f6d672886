#include "tests/target.h"

static pthread_mutex_t robust;
static bool released;

TARGET() {
  pthread_mutexattr_t attributes;
  OK0(pthread_mutexattr_init(&attributes));
  OK0(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
  OK0(pthread_mutex_init(&robust, &attributes));
  static int holding;
  TargetThread holder([] {
    pthread_mutex_lock(&robust);
    __atomic_store_n(&holding, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
  });  // ends with the mutex held
  AWAIT(__atomic_load_n(&holding, __ATOMIC_SEQ_CST) == 1);

  checkpoint_here();

  EXPECT_EQ(pthread_mutex_trylock(&robust), EBUSY);
  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  holder.join();
  EXPECT_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
  EXPECT_EQ(pthread_mutex_consistent(&robust), 0);
  EXPECT_EQ(pthread_mutex_unlock(&robust), 0);
}
