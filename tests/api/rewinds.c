/* SPDX-License-Identifier: Apache-2.0 */
/* rewinds ROUNDS: a program with threads makes a save point, changes all that a rollback can put back without
 * making the process anew, and goes back, ROUNDS times; each time all must be as it was. The count is kept in
 * the file "rounds", which is not open at the save point. With "end" behind it, it ends a thread as well. */
#include <crs/crs.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

enum { page = 4096, many = 64 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long counts[2]; /* of the two threads, equal when nobody holds the mutex */
static int ending;     /* the second thread is to end */
static _Thread_local int own = 7;
static volatile sig_atomic_t handled;
static char* mapped_file; /* private: its page is written */

static void on_usr1(int number) {
  (void)number;
  handled = 1;
}
static void on_usr1_later(int number) {
  (void)number;
  handled = 2;
}

/* Both count in step, so that a thread that was put back alone would be found out. */
static void* count(void* argument) {
  const long which = (long)argument;
  own = 8 + (int)which;
  for (;;) {
    pthread_mutex_lock(&mutex);
    while (counts[which] > counts[1 - which] && !(ending && which == 1))
      pthread_cond_wait(&condition, &mutex);
    if (ending && which == 1) break;
    ++counts[which];
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    CHECK(own == 8 + (int)which);
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

static void* wait_for_ever(void* unused) {
  (void)unused;
  for (;;) pause();
  return NULL;
}

static int grow_stack(int depth) {
  volatile char room[8192];
  memset((char*)room, depth, sizeof room);
  return depth == 0 ? room[1] : grow_stack(depth - 1) + room[0];
}

static char* map(size_t bytes, int fill) {
  char* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(at != MAP_FAILED);
  if (fill != 0) memset(at, fill, bytes);
  return at;
}

static int holds(const char* at, size_t bytes, int value) {
  for (size_t i = 0; i < bytes; i++) {
    if (at[i] != (char)value) return 0;
  }
  return 1;
}

static long next_round(void) {
  long round = 0;
  const int fd = open("rounds", O_RDWR | O_CREAT, 0644);
  CHECK(fd >= 0);
  (void)!read(fd, &round, sizeof round);
  ++round;
  CHECK(pwrite(fd, &round, sizeof round, 0) == sizeof round);
  CHECK(close(fd) == 0);
  return round;
}

static int is_open(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

int main(int argc, char** argv) {
  CHECK(argc >= 2 && crs_init() == CRS_SUCCESS);
  const long rounds = atol(argv[1]);
  const int ends_a_thread = argc > 2;
  pthread_t threads[2];
  for (long i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, count, (void*)i) == 0);
  struct sigaction action = {0}, now;
  action.sa_handler = on_usr1;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);

  /* What the save point finds. */
  char* kept = map(many * page, 'k'); /* parts of it are written, dropped, protected, unmapped */
  char* untouched = map(many * page, 'u');
  char* empty = map(many * page, 0); /* never touched */
  char* large = malloc(1u << 20);    /* a mapping of its own */
  char* small = malloc(100);         /* on the heap */
  CHECK(large != NULL && small != NULL);
  memset(large, 'l', 1u << 20);
  memset(small, 's', 100);
  const int own_file = open("/proc/self/exe", O_RDONLY);
  mapped_file = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, own_file, 0);
  CHECK(own_file >= 0 && mapped_file != MAP_FAILED);
  const char first_byte = mapped_file[1]; /* the second page stays the file's */
  const int output = open("output", O_RDWR | O_CREAT | O_TRUNC, 0644);
  CHECK(output >= 0 && write(output, "before", 6) == 6);
  const int armed = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK),
            idle = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK);
  struct itimerspec time = {{7, 0}, {10000, 0}};
  CHECK(armed >= 0 && idle >= 0 && timerfd_settime(armed, 0, &time, NULL) == 0);
  own = 42;

  crs_savepoint* point = NULL;
  crs_state state = CRS_NONE;
  if (crs_savepoint_create(&point, &state) != CRS_SUCCESS) {
    fprintf(stderr, "create: %s (%s)\n", crs_last_error()->message, crs_last_error()->hint);
    return 1;
  }
  const long round = next_round();
  CHECK(state == (round == 1 ? CRS_CONTINUE : CRS_RESTART));

  /* All is as it was. */
  CHECK(own == 42 && !ending && handled == 0);
  CHECK(holds(kept, many * page, 'k') && holds(untouched, many * page, 'u') && holds(empty, many * page, 0));
  CHECK(holds(large, 1u << 20, 'l') && holds(small, 100, 's') && mapped_file[1] == first_byte);
  CHECK(lseek(output, 0, SEEK_CUR) == 6);
  struct stat status;
  CHECK(fstat(output, &status) == 0 && status.st_size == 6);
  char text[7] = "";
  CHECK(pread(output, text, 6, 0) == 6 && strcmp(text, "before") == 0);
  CHECK(sbrk(0) == (void*)syscall(SYS_brk, 0)); /* library and kernel agree where the heap ends */
  CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == on_usr1);
  CHECK(timerfd_gettime(armed, &time) == 0 && time.it_interval.tv_sec == 7 && time.it_value.tv_sec > 5000);
  CHECK(timerfd_gettime(idle, &time) == 0 && time.it_value.tv_sec == 0 && time.it_value.tv_nsec == 0);
  unsigned long expired = 0;
  CHECK(read(idle, &expired, sizeof expired) < 0);
  sigset_t mask;
  CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGUSR2) == 0);
  CHECK(raise(SIGUSR1) == 0 && handled == 1);
  kept[0] = 'k'; /* it may be written */
  long seen;
  pthread_mutex_lock(&mutex);
  seen = counts[0];
  CHECK(counts[0] - counts[1] <= 1 && counts[1] - counts[0] <= 1);
  pthread_mutex_unlock(&mutex);
  for (int i = 0;; i++) { /* they count on */
    pthread_mutex_lock(&mutex);
    const int counted = counts[0] > seen + 10;
    pthread_mutex_unlock(&mutex);
    if (counted) break;
    CHECK(i < 100000);
    usleep(100);
  }
  if (round > rounds) {
    CHECK(crs_savepoint_release(point) == CRS_SUCCESS);
    printf("rounds %ld\n", round - 1);
    return 0;
  }

  /* Everything changes. */
  own = 43;
  memset(kept + 3 * page, 'x', page);
  CHECK(madvise(kept + 5 * page, 2 * page, MADV_DONTNEED) == 0);
  CHECK(mprotect(kept, page, PROT_NONE) == 0);
  CHECK(munmap(kept + 20 * page, 10 * page) == 0);
  CHECK(mmap(kept + 22 * page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) == kept + 22 * page);
  CHECK(mprotect(untouched, many * page, PROT_READ) == 0);
  memset(empty + page, 'e', 7 * page);
  memset(large, 'x', 1u << 20);
  free(large);
  memset(small, 'x', 100);
  for (int i = 0; i < 3000; i++) memset(malloc(1000), 'h', 1000);
  map(many * page, 'n');
  mapped_file[1] = (char)(first_byte + 1);
  CHECK(write(output, " and after", 10) == 10 && pwrite(output, "B", 1, 0) == 1);
  CHECK(pwrite(output, "b", 1, 0) == 1); /* the same as before, but the file was written to */
  time = (struct itimerspec){{0, 1000}, {0, 1000}};
  CHECK(timerfd_settime(idle, 0, &time, NULL) == 0);
  time = (struct itimerspec){{0, 0}, {0, 0}};
  CHECK(timerfd_settime(armed, 0, &time, NULL) == 0);
  CHECK(dup(output) >= 0 && is_open(open("/dev/null", O_RDONLY)));
  int ends[2];
  CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
  action.sa_handler = on_usr1_later;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  CHECK(pthread_sigmask(SIG_BLOCK, &mask, NULL) == 0);
  CHECK(grow_stack(40) != 1);
  pthread_t more;
  for (int i = 0; i < 3; i++) CHECK(pthread_create(&more, NULL, wait_for_ever, NULL) == 0);
  if (ends_a_thread) {
    pthread_mutex_lock(&mutex);
    ending = 1;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    CHECK(pthread_join(threads[1], NULL) == 0);
  }
  crs_savepoint* younger = NULL;
  if (crs_savepoint_create(&younger, &state) != CRS_SUCCESS || state != CRS_CONTINUE) {
    fprintf(stderr, "create a second one: %s (%s)\n", crs_last_error()->message, crs_last_error()->hint);
    return 1;
  }
  memset(small, 'y', 100);
  crs_savepoint_rollback(point);
  fprintf(stderr, "rollback: %s (%s)\n", crs_last_error()->message, crs_last_error()->hint);
  return 4;
}
