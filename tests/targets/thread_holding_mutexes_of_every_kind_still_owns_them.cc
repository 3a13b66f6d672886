#include "tests/target.h"

static pthread_mutex_t make(int type, int protocol) {
  pthread_mutexattr_t attributes;
  OK0(pthread_mutexattr_init(&attributes));
  OK0(pthread_mutexattr_settype(&attributes, type));
  OK0(pthread_mutexattr_setprotocol(&attributes, protocol));
  pthread_mutex_t mutex;
  OK0(pthread_mutex_init(&mutex, &attributes));
  return mutex;
}

TARGET() {
  static pthread_mutex_t checking = make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
  static pthread_mutex_t recursive = make(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
  static pthread_mutex_t inheriting = make(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_INHERIT);
  OK0(pthread_mutex_lock(&checking));
  OK0(pthread_mutex_lock(&recursive));
  OK0(pthread_mutex_lock(&inheriting));  // the futex word holds our thread id
  TargetThread waiter([] {
    int error = pthread_mutex_lock(&inheriting);
    return error == 0 ? pthread_mutex_unlock(&inheriting) : error;
  });
  waiter.tid();
  sleep_ms(20);

  checkpoint_here();

  EXPECT_EQ(pthread_mutex_lock(&checking), EDEADLK);
  EXPECT_EQ(pthread_mutex_lock(&recursive), 0);
  EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
  EXPECT_EQ(pthread_mutex_unlock(&recursive), 0);
  EXPECT_EQ(pthread_mutex_unlock(&recursive), EPERM);
  EXPECT_EQ(pthread_mutex_unlock(&checking), 0);
  EXPECT_EQ(pthread_mutex_unlock(&inheriting), 0);
  EXPECT_EQ(waiter.join(), 0);
}
