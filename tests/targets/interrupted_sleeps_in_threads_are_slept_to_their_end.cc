// settle: 0.4
#include "tests/target.h"

#include <sys/select.h>

constexpr int64_t whole = 2000000000;  // longer than two checkpoints and restarts take

static bool remaining_asked() {
  int64_t start = monotonic_ns();
  struct timespec asked = {2, 0};
  struct timespec rest = {};
  int result = nanosleep(&asked, &rest);
  return result == 0 && monotonic_ns() - start >= whole;
}

static bool remaining_not_asked() {
  int64_t start = monotonic_ns();
  struct timespec asked = {2, 0};
  return nanosleep(&asked, nullptr) == 0 && asked.tv_sec == 2 && asked.tv_nsec == 0 &&
         monotonic_ns() - start >= whole;
}

static bool clock_relative() {
  int64_t start = monotonic_ns();
  struct timespec asked = {2, 0};
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &asked, nullptr) == 0 && monotonic_ns() - start >= whole;
}

static bool clock_absolute() {
  struct timespec until = {};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 2;
  if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) return false;
  struct timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec);
}

static bool select_as_sleep() {
  int64_t start = monotonic_ns();
  struct timeval asked = {2, 0};
  return select(0, nullptr, nullptr, nullptr, &asked) == 0 && monotonic_ns() - start >= whole;
}

static bool library_sleep() {
  int64_t start = monotonic_ns();
  return sleep(2) == 0 && monotonic_ns() - start >= whole;
}

static bool library_usleep() {
  int64_t start = monotonic_ns();
  return usleep(1900000) == 0 && monotonic_ns() - start >= 1900000000;
}

TARGET() {
  bool (*calls[])() = {remaining_asked, remaining_not_asked, clock_relative, clock_absolute,
                       select_as_sleep, library_sleep,       library_usleep};
  pthread_t threads[7];

  begin_checkpoint();
  for (int i = 0; i < 7; i++)
    OK0(pthread_create(
        &threads[i], nullptr,
        [](void* call) {
          return reinterpret_cast<void*>(static_cast<intptr_t>((*static_cast<bool (**)()>(call))()));
        },
        &calls[i]));
  end_checkpoint();

  const char* names[] = {"nanosleep(t, rem)",
                         "nanosleep(t, NULL)",
                         "clock_nanosleep",
                         "clock_nanosleep until",
                         "select",
                         "sleep",
                         "usleep"};
  for (int i = 0; i < 7; i++) {
    void* good = nullptr;
    OK0(pthread_join(threads[i], &good));
    EXPECT(good != nullptr);
    if (good == nullptr) fprintf(stderr, "  %s was cut short\n", names[i]);
  }
}
