/* SPDX-License-Identifier: Apache-2.0 */
/* self_threads: four threads count in critical sections, in two protected numbers that are equal outside of
 * them; a fifth forks children that enter a section of their own, again and again, until there is a file
 * "enough". In a restarted process: says whether the two were equal, and how far they had come. */
#include <crs/crs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
  volatile unsigned long first;
  char between[4 << 20]; /* so that both are not read in one go */
  volatile unsigned long second;
} numbers;
static int children;

static int enough(void) {
  return access("enough", F_OK) == 0;
}

static void* count(void* unused) {
  for (unsigned long round = 0; round % 64 != 0 || !enough(); round++) {
    if (crs_disable_checkpoint_as("both numbers") != CRS_SUCCESS) exit(3);
    pthread_mutex_lock(&mutex);
    numbers.first++;
    sched_yield();
    numbers.second++;
    pthread_mutex_unlock(&mutex);
    if (crs_enable_checkpoint() != CRS_SUCCESS) exit(4);
  }
  return unused;
}

static void* fork_on(void* unused) {
  while (!enough()) {
    const pid_t child = fork();
    if (child == 0) {
      const int well = crs_disable_checkpoint() == CRS_SUCCESS && crs_enable_checkpoint() == CRS_SUCCESS;
      _exit(well ? 0 : 1);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) exit(5);
    children++;
  }
  return unused;
}

int main(void) {
  pthread_t threads[5];
  int restarted = 0;
  if (crs_init() != CRS_SUCCESS || crs_self_protect("numbers", &numbers, sizeof numbers) != CRS_SUCCESS ||
      crs_self_restore(&restarted) != CRS_SUCCESS)
    return 2;
  if (restarted) {
    printf("%s %lu\n", numbers.first == numbers.second ? "equal" : "different", numbers.first);
    return 0;
  }
  for (int i = 0; i < 5; i++) {
    if (pthread_create(&threads[i], NULL, i < 4 ? count : fork_on, NULL) != 0) return 6;
  }
  puts("counts");
  fflush(stdout);
  for (int i = 0; i < 5; i++) pthread_join(threads[i], NULL);
  if (children == 0 || numbers.first != numbers.second) return 7;
  return crs_finalize() == CRS_SUCCESS ? 0 : 8;
}
