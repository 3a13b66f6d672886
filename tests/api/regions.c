/* SPDX-License-Identifier: Apache-2.0 */
/* With the word "plain" it has no shared memory, so that it can go back to a save point as what it is. */
/* regions [WORD...]: excludes memory from its snapshots, and waits for orders, which are files. "check":
 * looks whether everything is as it must be in the original or in a restored process, fills all anew and
 * writes "well" or what is wrong to stdout; "self": has itself saved to ./own, "point": makes a save point
 * and goes back to it; "fork": has a child that waits for the same orders; "end": ends. Words: rebuild  one
 * region is rebuilt, with other threads that count all the time fail, hang, crash  what rebuilds it does that
 * instead, in a restored process init     a forked child calls crs_init() many     and has 5000 regions more,
 * of which every second one is forgotten again */
#define _GNU_SOURCE /* mremap(2) */
#include <crs/crs.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define BIG (4u << 20)
#define MANY 5000
#define COUNTERS 3

static int words;
static char** word;
static unsigned char *scratch, *arena, *cache, *of_file, *to_file, *shared, *shared_again, *many, *read_only;
static volatile unsigned long counters[COUNTERS];
static int was_rebuilt, others_ran, wrong_arguments, went_back;
static unsigned char pattern = 'x'; /* what everything was filled with */
static uint64_t filled_in;          /* the life in which it was */
static uint64_t many_ids[MANY];

static int has(const char* wanted) {
  for (int i = 1; i < words; i++) {
    if (strcmp(word[i], wanted) == 0) return 1;
  }
  return 0;
}

static void rest(long ms) {
  const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static int complain(const char* what) {
  printf("%s: %s\n", what, crs_last_error()->message);
  fflush(stdout);
  return 1;
}

static unsigned char* map(size_t bytes, int flags, int fd) {
  void* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) _exit(3);
  return at;
}

static void* count(void* counter) {
  for (volatile unsigned long* mine = counter;;) ++*mine;
  return NULL;
}

static int rebuild(void* pointer, size_t bytes, void* context) {
  if (has("fail")) return 7;
  while (has("hang")) rest(5);
  if (has("crash") && mprotect(pointer, PAGE, PROT_NONE) == 0) *(volatile char*)pointer = 1;
  unsigned long before[COUNTERS];
  for (int i = 0; i < COUNTERS; i++) before[i] = counters[i];
  rest(30);
  for (int i = 0; i < COUNTERS; i++) others_ran |= counters[i] != before[i];
  if (pointer != cache || bytes != BIG || context != &pattern) wrong_arguments = 1;
  if (crs_memory_forget(1) != CRS_ERR_USAGE) wrong_arguments = 1; /* nothing of the library in here */
  for (size_t i = 0; i < bytes; i++) wrong_arguments |= ((unsigned char*)pointer)[i] != 0;
  memset(pointer, 'r', bytes);
  was_rebuilt++;
  return 0;
}

static uint64_t life(void) {
  crs_restart_information information = {sizeof information, 0, NULL};
  if (crs_restart_info(&information) != CRS_SUCCESS) _exit(4);
  return information.restarts;
}

static void fill(void) {
  pattern++;
  memset(scratch, pattern, BIG);
  memset(arena, pattern, BIG);
  memset(cache, pattern, BIG);
  memset(of_file, pattern, 4 * PAGE);
  memset(to_file, pattern, PAGE);
  memset(shared, pattern, BIG);
  memset(many, pattern, MANY * PAGE);
  mprotect(read_only, BIG, PROT_READ | PROT_WRITE);
  memset(read_only, pattern, BIG);
  mprotect(read_only, BIG, PROT_READ);
  was_rebuilt = others_ran = wrong_arguments = went_back = 0;
  filled_in = life();
}

static int is(const unsigned char* bytes, size_t from, size_t to, int value) {
  for (size_t i = from; i < to; i++) {
    if (bytes[i] != value) return 0;
  }
  return 1;
}

static const char* judge(void) {
  const int back = life() != filled_in;
  const int gone = back ? 0 : pattern;
  const int built = has("rebuild");
  if (!is(scratch, 0, PAGE, pattern) || !is(scratch, BIG - PAGE, BIG, pattern)) return "edges";
  if (!is(scratch, PAGE, BIG - PAGE, gone)) return "scratch";
  if (!is(arena, PAGE * 10, PAGE * 12, pattern)) return "included";
  if (!is(arena, 0, PAGE * 10, gone) || !is(arena, PAGE * 12, BIG, gone)) return "arena";
  if (!is(cache, 0, BIG, built && back ? 'r' : built ? pattern : gone)) return "cache";
  if (built && was_rebuilt != back) return "the number of times that the cache was rebuilt";
  if (others_ran) return "other threads ran while it was rebuilt";
  if (wrong_arguments) return "arguments or memory of the function that rebuilds";
  if (!is(of_file, 0, 4 * PAGE, back ? 'f' : pattern)) return "private mapping of a file";
  /* What the original wrote after the checkpoint is in the file. */
  if (back || went_back ? to_file[0] < pattern : !is(to_file, 0, PAGE, pattern))
    return "shared mapping of a file";
  const int emptied = has("plain") ? pattern : gone;
  if (!is(shared, 0, PAGE, emptied) || !is(shared, 3 * PAGE, BIG, emptied)) return "shared";
  if (!is(shared, PAGE, 3 * PAGE, pattern)) return "what the other mapping of shared memory includes";
  if (memcmp(shared, shared_again, BIG) != 0) return "the second mapping of shared memory";
  if (!is(read_only, 0, BIG, gone)) return "read-only";
  for (size_t i = 0; i < MANY; i++) {
    const int left_out = has("many") && i % 2 == 0;
    if (!is(many, i * PAGE, (i + 1) * PAGE, left_out ? gone : pattern)) return "one of many";
  }
  return "well";
}

static int exclude_many(void) {
  for (size_t i = 0; i < MANY; i++) {
    char label[32];
    snprintf(label, sizeof label, "page %zu", i);
    if (crs_memory_exclude(label, many + i * PAGE, PAGE, NULL, NULL, &many_ids[i]) != CRS_SUCCESS)
      return complain(label);
  }
  for (size_t i = 1; i < MANY; i += 2) {
    if (crs_memory_forget(many_ids[i]) != CRS_SUCCESS) return complain("forget");
  }
  /* Rows are used again, ids are not. */
  uint64_t id = 0;
  if (crs_memory_exclude("again", many, PAGE, NULL, NULL, &id) != CRS_SUCCESS) return complain("again");
  if (id <= many_ids[MANY - 1] || crs_memory_forget(many_ids[1]) != CRS_ERR_USAGE) return complain("ids");
  if (crs_memory_forget(id) != CRS_SUCCESS || crs_memory_forget(id) != CRS_ERR_USAGE) return complain("ids");
  return 0;
}

static int arrange(void) {
  const int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
  const int other = open("other", O_RDWR | O_CREAT | O_TRUNC, 0600);
  for (unsigned i = 0; i < 4 * PAGE; i++) {
    if (write(fd, "f", 1) != 1) return 1;
  }
  if (ftruncate(other, PAGE) != 0) return 1;
  const int private = MAP_PRIVATE | MAP_ANONYMOUS;
  scratch = map(BIG, private, -1);
  arena = map(BIG, private, -1);
  cache = map(BIG, private, -1);
  many = map(MANY * PAGE, private, -1);
  read_only = map(BIG, private, -1);
  of_file = map(4 * PAGE, MAP_PRIVATE, fd);
  to_file = map(PAGE, MAP_SHARED, other);
  shared = shared_again = map(BIG, has("plain") ? private : MAP_SHARED | MAP_ANONYMOUS, -1);
  if (!has("plain")) shared_again = mremap(shared, 0, BIG, MREMAP_MAYMOVE);
  unsigned char* unmapped = map(BIG, private, -1);
  if (shared_again == MAP_FAILED || close(fd) != 0 || close(other) != 0) return 1;
  uint64_t id = 0;
  if (crs_memory_exclude("scratch", scratch + 100, BIG - 200, NULL, NULL, NULL) != CRS_SUCCESS ||
      crs_memory_exclude("arena", arena, BIG, NULL, NULL, NULL) != CRS_SUCCESS ||
      crs_memory_exclude("arena, twice", arena + 7, BIG / 2, NULL, NULL, NULL) != CRS_SUCCESS ||
      crs_memory_include("kept", arena + PAGE * 10 + 5, PAGE + 1, NULL) != CRS_SUCCESS ||
      crs_memory_exclude("cache", cache, BIG, has("rebuild") ? rebuild : NULL, &pattern, &id) !=
          CRS_SUCCESS ||
      crs_memory_exclude("of a file", of_file, 4 * PAGE, NULL, NULL, NULL) != CRS_SUCCESS ||
      crs_memory_exclude("to a file", to_file, PAGE, NULL, NULL, NULL) != CRS_SUCCESS ||
      (!has("plain") && crs_memory_exclude("shared", shared, BIG, NULL, NULL, NULL) != CRS_SUCCESS) ||
      crs_memory_include("shared, kept", shared_again + PAGE, 2 * PAGE, NULL) != CRS_SUCCESS ||
      crs_memory_exclude("read-only", read_only, BIG, NULL, NULL, NULL) != CRS_SUCCESS ||
      crs_memory_exclude("unmapped", unmapped, BIG, NULL, NULL, NULL) != CRS_SUCCESS)
    return complain("exclude");
  munmap(unmapped, BIG);
  if (crs_memory_exclude(NULL, cache, 1, NULL, NULL, NULL) != CRS_ERR_USAGE ||
      crs_memory_exclude("none", cache, 0, NULL, NULL, NULL) != CRS_ERR_USAGE ||
      crs_memory_exclude("none", NULL, 1, NULL, NULL, NULL) != CRS_ERR_USAGE ||
      crs_memory_exclude("around", cache, (size_t)-1, NULL, NULL, NULL) != CRS_ERR_USAGE ||
      crs_memory_include("around", (void*)((uintptr_t)0 - PAGE), 2 * PAGE, NULL) != CRS_ERR_USAGE ||
      crs_memory_forget(0) != CRS_ERR_USAGE || crs_memory_forget(id + (1ull << 40)) != CRS_ERR_USAGE)
    return complain("misuse");
  return has("many") ? exclude_many() : 0;
}

static void save_itself(void) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  if (crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
      crs_snapshot_set_directory(snapshot, "own") != CRS_SUCCESS ||
      crs_checkpoint(0, snapshot, NULL, &state) != CRS_SUCCESS)
    _exit(complain("self"));
  const int spared =
      crs_snapshot_left_out_bytes(snapshot) >= 3 * BIG && crs_snapshot_memory_bytes(snapshot) < 8 * BIG;
  printf("%s %s %s\n", crs_state_text(state), spared ? "spared" : "not spared", judge());
  crs_snapshot_free(snapshot);
}

static void go_back(void) {
  crs_savepoint* point = NULL;
  crs_state state = CRS_NONE;
  if (crs_savepoint_create(&point, &state) != CRS_SUCCESS) _exit(complain("save point"));
  if (state == CRS_RESTART) {
    /* A save point holds all of it: nothing was left out, and nothing is rebuilt. */
    filled_in = life();
    went_back = 1;
  }
  printf("%s %s\n", crs_state_text(state), judge());
  if (state == CRS_CONTINUE) {
    fflush(stdout);
    fill();
    crs_savepoint_rollback(point);
    printf("%s\n", crs_result_text(crs_last_error()->code));
    fprintf(stderr, "%s\n", crs_last_error()->message);
  }
  crs_savepoint_release(point);
}

static int is_ordered(const char* order) {
  return unlink(order) == 0;
}

static int wait_for_orders(void) {
  for (;; rest(1)) {
    if (is_ordered("check")) {
      printf("%s\n", judge());
      fill();
    }
    if (is_ordered("self")) save_itself();
    if (is_ordered("point")) go_back();
    if (is_ordered("fork") && fork() == 0 && has("init") && crs_init() != CRS_SUCCESS)
      return complain("init");
    if (is_ordered("end")) return 0;
    fflush(stdout);
  }
}

int main(int argc, char** argv) {
  words = argc;
  word = argv;
  if (crs_memory_exclude("early", argv, 1, NULL, NULL, NULL) != CRS_ERR_NOT_READY) return 5;
  if (crs_init() != CRS_SUCCESS) return complain("init");
  if (arrange() != 0) return 6;
  /* All is forgotten with the last finalize; a second life begins with nothing. */
  if (crs_finalize() != CRS_SUCCESS || crs_init() != CRS_SUCCESS) return complain("init");
  if (crs_memory_forget(1u << 20) != CRS_ERR_USAGE || arrange() != 0) return 7;
  pthread_t thread;
  for (int i = 0; has("rebuild") && i < COUNTERS; i++) {
    if (pthread_create(&thread, NULL, count, (void*)&counters[i]) != 0) return 8;
  }
  fill();
  printf("ready\n");
  const int result = wait_for_orders();
  return crs_finalize() == CRS_SUCCESS ? result : complain("finalize");
}
