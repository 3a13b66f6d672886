// settle: 1.5
// variants: once running
#include "tests/target.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/select.h>

// Each waits for something that never happens, for 3 seconds. 1.5 of them are over at the checkpoint: what is
// left is 1.5 seconds, not 3, and the program's own limit has not changed.
constexpr int64_t limit_ns = 3000000000;
static int pipe_ends[2];
static const struct timespec three_seconds = {3, 0};

static bool wait_nanosleep() {
  return nanosleep(&three_seconds, nullptr) == 0;
}
static bool wait_nanosleep_with_rest() {
  struct timespec rest = {77, 77};
  struct timespec asked = three_seconds;
  return nanosleep(&asked, &rest) == 0 && asked.tv_sec == 3 && asked.tv_nsec == 0;
}
static bool wait_clock_nanosleep() {
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &three_seconds, nullptr) == 0;
}
static bool wait_clock_nanosleep_realtime() {
  return clock_nanosleep(CLOCK_REALTIME, 0, &three_seconds, nullptr) == 0;
}
static bool wait_poll() {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  return poll(&one, 1, 3000) == 0;
}
static bool wait_poll_for_nothing() {
  return poll(nullptr, 0, 3000) == 0;
}
static bool wait_ppoll() {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  struct timespec limit = three_seconds;
  return ppoll(&one, 1, &limit, nullptr) == 0 && limit.tv_sec == 3;
}
static bool wait_select() {
  struct timeval limit = {3, 0};
  return select(0, nullptr, nullptr, nullptr, &limit) == 0;
}
static bool wait_futex() {
  static int word = 5;
  struct timespec limit = three_seconds;
  return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &limit, nullptr, 0) == -1 && errno == ETIMEDOUT &&
         limit.tv_sec == 3 && limit.tv_nsec == 0;
}

// Registers other than rax, rcx and r11 are the compiler's: it may look at them after the call.
static bool wait_raw_poll() {
  struct pollfd one = {pipe_ends[0], POLLIN, 0};
  long result = SYS_poll;
  struct pollfd* fds = &one;
  long count = 1;
  long limit = 3000;
  asm volatile("syscall" : "+a"(result), "+D"(fds), "+S"(count), "+d"(limit) : : "rcx", "r11", "memory");
  return result == 0 && fds == &one && count == 1 && limit == 3000;
}
static bool wait_raw_nanosleep() {
  struct timespec rest = {77, 77};
  long result = SYS_nanosleep;
  const struct timespec* asked = &three_seconds;
  struct timespec* rest_at = &rest;
  asm volatile("syscall" : "+a"(result), "+D"(asked), "+S"(rest_at) : : "rcx", "r11", "memory");
  return result == 0 && asked == &three_seconds && rest_at == &rest;
}

struct Wait {
  const char* name;
  bool (*call)();
  pthread_t thread;
  int64_t lasted;
  int64_t since_go;
};

TARGET() {
  OK(pipe(pipe_ends));
  static Wait waits[] = {{"nanosleep(t, NULL)", wait_nanosleep, 0, 0, 0},
                         {"nanosleep(t, rest)", wait_nanosleep_with_rest, 0, 0, 0},
                         {"clock_nanosleep(t, NULL)", wait_clock_nanosleep, 0, 0, 0},
                         {"clock_nanosleep(REALTIME)", wait_clock_nanosleep_realtime, 0, 0, 0},
                         {"poll", wait_poll, 0, 0, 0},
                         {"poll of nothing", wait_poll_for_nothing, 0, 0, 0},
                         {"ppoll", wait_ppoll, 0, 0, 0},
                         {"select", wait_select, 0, 0, 0},
                         {"futex", wait_futex, 0, 0, 0},
                         {"poll, registers", wait_raw_poll, 0, 0, 0},
                         {"nanosleep, registers", wait_raw_nanosleep, 0, 0, 0}};

  begin_checkpoint();
  for (Wait& wait : waits)
    OK0(pthread_create(
        &wait.thread, nullptr,
        [](void* argument) {
          auto* self = static_cast<Wait*>(argument);
          int64_t start = monotonic_ns();
          bool good = self->call();
          self->since_go = ms_since_go();
          self->lasted = monotonic_ns() - start;
          return reinterpret_cast<void*>(static_cast<intptr_t>(good));
        },
        &wait));
  end_checkpoint();

  for (Wait& wait : waits) {
    void* good = nullptr;
    OK0(pthread_join(wait.thread, &good));
    EXPECT(good != nullptr);
    EXPECT_GE(wait.lasted, limit_ns);
    EXPECT_LE(wait.since_go, 2000);
    fprintf(stderr, "  %s: good %d, lasted %ld ms, %ld ms since go\n", wait.name, good != nullptr,
            static_cast<long>(wait.lasted / 1000000), static_cast<long>(wait.since_go));
  }
}
