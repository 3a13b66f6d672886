// timeout: 40
#include "tests/target.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;       // whose turn it is, of the threads that pass the baton
static bool released;  // set after the checkpoint
static long counter;

// Each thread does one of three things until it is released, and then adds what it owes to the counter.
static long work(int me) {
  if (me % 3 == 0) {
    pthread_mutex_lock(&lock);
    while (!released) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
  } else if (me % 3 == 1) {
    bool more = true;
    while (more) {
      sleep_ms(3);
      pthread_mutex_lock(&lock);
      more = !released;
      pthread_mutex_unlock(&lock);
    }
  } else {
    bool more = true;
    while (more) {
      pthread_mutex_lock(&lock);
      struct timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_sec += 1;
      while (turn % 21 != me / 3 && !released) pthread_cond_timedwait(&changed, &lock, &until);
      turn++;
      more = !released;
      pthread_cond_broadcast(&changed);
      pthread_mutex_unlock(&lock);
      if (more) sleep_ms(1);
    }
  }
  for (int i = 0; i < 1000; i++) {
    pthread_mutex_lock(&lock);
    counter++;
    pthread_mutex_unlock(&lock);
  }
  return me;
}

TARGET() {
  pthread_t threads[64];
  for (long i = 0; i < 64; i++)
    OK0(pthread_create(
        &threads[i], nullptr,
        [](void* me) { return reinterpret_cast<void*>(work(static_cast<int>(reinterpret_cast<long>(me)))); },
        reinterpret_cast<void*>(i)));
  sleep_ms(20);

  checkpoint_here();

  pthread_mutex_lock(&lock);
  released = true;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  for (long i = 0; i < 64; i++) {
    void* answer = nullptr;
    OK0(pthread_join(threads[i], &answer));
    EXPECT_EQ(reinterpret_cast<long>(answer), i);
  }
  EXPECT_EQ(counter, 64000);
}
