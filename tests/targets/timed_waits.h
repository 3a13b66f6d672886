// SPDX-License-Identifier: Apache-2.0
// Waits with a time limit for what never happens, each in a thread of its own.
//
//   static TimedWait waits[] = {{"poll", wait_poll}, ...};
//   begin_checkpoint();
//   start(waits);
//   end_checkpoint();
//   finish(waits);                    // good, at least as long as the limit, and no longer than its rest
#pragma once

#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>

#include "tests/target.h"

constexpr int64_t second_ns = 1000000000;
constexpr long limit_s = 3;  // all of them
constexpr struct timespec limit_spec = {limit_s, 0};

inline bool is_untouched(const struct timespec& limit) {
  return limit.tv_sec == limit_s && limit.tv_nsec == 0;
}

// A pipe into which nobody writes.
inline int silent_fd() {
  static int ends[2];
  static int made = OK(pipe(ends));
  return made == 0 ? ends[0] : -1;
}

inline struct timespec limit_until(clockid_t clock) {
  struct timespec until = {};
  clock_gettime(clock, &until);
  until.tv_sec += limit_s;
  return until;
}

inline bool wait_nanosleep() {
  return nanosleep(&limit_spec, nullptr) == 0;
}
inline bool wait_nanosleep_with_rest() {
  struct timespec rest = {77, 77};
  struct timespec asked = limit_spec;
  return nanosleep(&asked, &rest) == 0 && is_untouched(asked);
}
inline bool wait_clock_nanosleep() {
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &limit_spec, nullptr) == 0;
}
inline bool wait_clock_nanosleep_realtime() {
  return clock_nanosleep(CLOCK_REALTIME, 0, &limit_spec, nullptr) == 0;
}
inline bool wait_poll() {
  struct pollfd one = {silent_fd(), POLLIN, 0};
  return poll(&one, 1, limit_s * 1000) == 0;
}
inline bool wait_poll_for_nothing() {
  return poll(nullptr, 0, limit_s * 1000) == 0;
}
inline bool wait_ppoll() {
  struct pollfd one = {silent_fd(), POLLIN, 0};
  struct timespec limit = limit_spec;
  return ppoll(&one, 1, &limit, nullptr) == 0 && is_untouched(limit);
}
inline bool wait_ppoll_with_mask() {
  struct pollfd one = {silent_fd(), POLLIN, 0};
  sigset_t none;
  sigemptyset(&none);
  return ppoll(&one, 1, &limit_spec, &none) == 0;
}
inline bool wait_select() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(silent_fd(), &set);
  struct timeval limit = {limit_s, 0};
  return select(silent_fd() + 1, &set, nullptr, nullptr, &limit) == 0;
}
inline bool wait_pselect() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(silent_fd(), &set);
  sigset_t none;
  sigemptyset(&none);
  return pselect(silent_fd() + 1, &set, nullptr, nullptr, &limit_spec, &none) == 0;
}
inline bool wait_epoll() {
  static int empty = OK(epoll_create1(0));
  struct epoll_event found;
  return epoll_wait(empty, &found, 1, limit_s * 1000) == 0;
}
inline bool wait_epoll_with_mask() {
  static int empty = OK(epoll_create1(0));
  struct epoll_event found;
  sigset_t none;
  sigemptyset(&none);
  return epoll_pwait(empty, &found, 1, limit_s * 1000, &none) == 0;
}
inline bool wait_epoll_with_nanoseconds() {
  static int empty = OK(epoll_create1(0));
  struct epoll_event found;
  return epoll_pwait2(empty, &found, 1, &limit_spec, nullptr) == 0;
}
inline bool wait_signal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 3);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return sigtimedwait(&set, nullptr, &limit_spec) == -1 && errno == EAGAIN;
}
inline bool wait_futex() {
  static int word = 5;
  struct timespec limit = limit_spec;
  return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &limit, nullptr, 0) == -1 && errno == ETIMEDOUT &&
         is_untouched(limit);
}

// Until a point in time.
inline bool wait_futex_until() {
  static int word = 5;
  const struct timespec until = limit_until(CLOCK_MONOTONIC);
  return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 5, &until, nullptr, FUTEX_BITSET_MATCH_ANY) ==
             -1 &&
         errno == ETIMEDOUT;
}
// futex_waitv(2), since Linux 5.16: of several words.
inline bool wait_futexes_until() {
  static uint32_t words[2] = {5, 6};
  struct {
    uint64_t value, address;
    uint32_t flags, reserved;
  } waiters[2] = {{5, reinterpret_cast<uint64_t>(&words[0]), 2 | FUTEX_PRIVATE_FLAG, 0},
                  {6, reinterpret_cast<uint64_t>(&words[1]), 2 | FUTEX_PRIVATE_FLAG, 0}};
  constexpr long futex_waitv = 449;
  const struct timespec until = limit_until(CLOCK_MONOTONIC);
  if (syscall(futex_waitv, waiters, 2, 0, &until, CLOCK_MONOTONIC) != -1) return false;
  return errno == ETIMEDOUT || errno == ENOSYS;
}
inline bool wait_condition() {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
  const struct timespec until = limit_until(CLOCK_REALTIME);
  pthread_mutex_lock(&lock);
  int error = pthread_cond_timedwait(&never, &lock, &until);
  pthread_mutex_unlock(&lock);
  return error == ETIMEDOUT;
}
inline bool wait_semaphore() {
  static sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  const struct timespec until = limit_until(CLOCK_REALTIME);
  return sem_timedwait(&semaphore, &until) == -1 && errno == ETIMEDOUT;
}

struct TimedWait {
  const char* name;
  bool (*call)();
  pthread_t thread = {};
  bool good = false;
  int64_t lasted_ns = 0;
  int64_t since_go_ms = 0;
};

inline void* run_timed_wait(void* argument) {
  auto* self = static_cast<TimedWait*>(argument);
  const int64_t start = monotonic_ns();
  self->good = self->call();
  const int error = errno;
  self->lasted_ns = monotonic_ns() - start;
  self->since_go_ms = ms_since_go();
  if (!self->good) fprintf(stderr, "  %s: %s\n", self->name, strerror(error));
  return nullptr;
}

template <size_t count>
void start(TimedWait (&waits)[count]) {
  for (TimedWait& wait : waits) OK0(pthread_create(&wait.thread, nullptr, run_timed_wait, &wait));
}

// `rest_ms`: what was left of the limit at the last checkpoint, and a generous margin. A restored process
// goes on before the harness says so, never later.
template <size_t count>
void finish(TimedWait (&waits)[count], int64_t rest_ms) {
  constexpr int64_t slew_ns = 2000000;  // CLOCK_REALTIME is not quite as fast as CLOCK_MONOTONIC
  for (TimedWait& wait : waits) {
    OK0(pthread_join(wait.thread, nullptr));
    fprintf(stderr, "  %s: good %d, lasted %ld ms, %ld ms since go\n", wait.name, wait.good,
            static_cast<long>(wait.lasted_ns / 1000000), static_cast<long>(wait.since_go_ms));
    EXPECT(wait.good);
    EXPECT_GE(wait.lasted_ns, limit_s * second_ns - slew_ns);
    EXPECT_LE(wait.since_go_ms, rest_ms);
  }
}
