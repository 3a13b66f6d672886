// compiler: musl-gcc
// flags: -static -pthread
// settle: 1.5
#include "tests/target.h"

#include <poll.h>

// In musl one piece of code makes all waits. Of 3 seconds 1.5 are over at the checkpoint.
static int ends[2];
static const struct timespec limit = {3, 0};

static int wait_poll(void) {
  struct pollfd one = {ends[0], POLLIN, 0};
  return poll(&one, 1, 3000);
}
static int wait_nanosleep(void) {
  return nanosleep(&limit, NULL);
}
static int wait_clock_nanosleep(void) {
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &limit, NULL);
}

struct wait {
  const char* name;
  int (*call)(void);
  pthread_t thread;
  int result;
  int64_t lasted_ns, since_go_ms;
};

static void* run(void* argument) {
  struct wait* self = argument;
  int64_t start = monotonic_ns();
  self->result = self->call();
  self->since_go_ms = ms_since_go();
  self->lasted_ns = monotonic_ns() - start;
  return NULL;
}

TARGET() {
  OK(pipe(ends));
  static struct wait waits[] = {{"poll", wait_poll, 0, 0, 0, 0},
                                {"nanosleep", wait_nanosleep, 0, 0, 0, 0},
                                {"clock_nanosleep", wait_clock_nanosleep, 0, 0, 0, 0}};

  begin_checkpoint();
  for (int i = 0; i < 3; i++) OK0(pthread_create(&waits[i].thread, NULL, run, &waits[i]));
  end_checkpoint();

  for (int i = 0; i < 3; i++) {
    OK0(pthread_join(waits[i].thread, NULL));
    fprintf(stderr, "  %s: %d, lasted %ld ms, %ld ms since go\n", waits[i].name, waits[i].result,
            (long)(waits[i].lasted_ns / 1000000), (long)waits[i].since_go_ms);
    EXPECT_EQ(waits[i].result, 0);
    EXPECT_GE(waits[i].lasted_ns, 3000000000);
    EXPECT_LE(waits[i].since_go_ms, 2000);
  }
}
