// settle: 0.4
#include "tests/target.h"

#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>

// Each waits for something that never happens, for one second, and must say so: not EINTR, and not early.
constexpr int64_t second = 1000000000;
static int pipe_ends[2];

static bool wait_poll() {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  return poll(&one, 1, 1000) == 0;
}
static bool wait_ppoll() {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  struct timespec limit = {1, 0};
  sigset_t none;
  sigemptyset(&none);
  return ppoll(&one, 1, &limit, &none) == 0;
}
static bool wait_select() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(pipe_ends[0], &set);
  struct timeval limit = {1, 0};
  return select(pipe_ends[0] + 1, &set, nullptr, nullptr, &limit) == 0;
}
static bool wait_pselect() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(pipe_ends[0], &set);
  struct timespec limit = {1, 0};
  sigset_t none;
  sigemptyset(&none);
  return pselect(pipe_ends[0] + 1, &set, nullptr, nullptr, &limit, &none) == 0;
}
static bool wait_futex() {
  static int word = 5;
  struct timespec limit = {1, 0};
  return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &limit, nullptr, 0) == -1 && errno == ETIMEDOUT;
}
static bool wait_futex_until() {
  static int word = 5;
  struct timespec limit = {};
  clock_gettime(CLOCK_MONOTONIC, &limit);
  limit.tv_sec += 1;
  return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 5, &limit, nullptr, FUTEX_BITSET_MATCH_ANY) ==
             -1 &&
         errno == ETIMEDOUT;
}
static bool wait_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 3);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  struct timespec limit = {1, 0};
  return sigtimedwait(&set, nullptr, &limit) == -1 && errno == EAGAIN;
}
static bool wait_condition() {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
  struct timespec limit = {};
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += 1;
  pthread_mutex_lock(&lock);
  int error = pthread_cond_timedwait(&never, &lock, &limit);
  pthread_mutex_unlock(&lock);
  return error == ETIMEDOUT;
}
static bool wait_semaphore() {
  static sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  struct timespec limit = {};
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += 1;
  return sem_timedwait(&semaphore, &limit) == -1 && errno == ETIMEDOUT;
}

struct Wait {
  const char* name;
  bool (*call)();
  pthread_t thread;
  int64_t lasted;
};

TARGET() {
  OK(pipe(pipe_ends));
  static Wait waits[] = {{"poll", wait_poll, 0, 0},
                         {"ppoll", wait_ppoll, 0, 0},
                         {"select", wait_select, 0, 0},
                         {"pselect", wait_pselect, 0, 0},
                         {"futex", wait_futex, 0, 0},
                         {"futex until", wait_futex_until, 0, 0},
                         {"sigtimedwait", wait_signal, 0, 0},
                         {"pthread_cond_timedwait", wait_condition, 0, 0},
                         {"sem_timedwait", wait_semaphore, 0, 0}};

  begin_checkpoint();
  for (Wait& wait : waits)
    OK0(pthread_create(
        &wait.thread, nullptr,
        [](void* argument) {
          auto* self = static_cast<Wait*>(argument);
          int64_t start = monotonic_ns();
          bool good = self->call();
          if (!good) fprintf(stderr, "  %s: %s\n", self->name, strerror(errno));
          self->lasted = monotonic_ns() - start;
          return reinterpret_cast<void*>(static_cast<intptr_t>(good));
        },
        &wait));
  end_checkpoint();

  for (Wait& wait : waits) {
    void* good = nullptr;
    OK0(pthread_join(wait.thread, &good));
    EXPECT(good != nullptr);
    EXPECT_GE(wait.lasted, second - 2000000);  // CLOCK_REALTIME limits may be slewed a little
    if (good == nullptr || wait.lasted < second - 2000000) fprintf(stderr, "  %s\n", wait.name);
  }
}
