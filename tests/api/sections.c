/* SPDX-License-Identifier: Apache-2.0 */
/* sections THREADS CYCLES: enters and leaves critical sections, nested ones now and then, so often at least,
 * and until there is a file "enough" in its directory. One in which the process was saved would begin before
 * a restart and end after it: then it writes "saved in a section". Exit status 0 when there was none;
 * "running" on stdout once all threads are at it, "done" at the end. */
#include <crs/crs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int cycles;
static atomic_int running;
static atomic_int wrong;
static atomic_bool enough;

static unsigned long restarts(void) {
  crs_restart_information information = {sizeof information, 0, NULL};
  return crs_restart_info(&information) == CRS_SUCCESS ? information.restarts : ~0ul;
}

static void* cycle(void* unused) {
  (void)unused;
  for (long i = 0; i < cycles || !atomic_load(&enough); i++) {
    if (i == 10) atomic_fetch_add(&running, 1);
    if (crs_disable_checkpoint_as("cycle") != CRS_SUCCESS) atomic_store(&wrong, 1);
    const unsigned long before = restarts();
    if (i % 7 == 0) {
      crs_disable_checkpoint();
      crs_enable_checkpoint();
    }
    if (i % 1000 == 0) usleep(100);
    if (restarts() != before) atomic_store(&wrong, 2);
    if (crs_enable_checkpoint() != CRS_SUCCESS) atomic_store(&wrong, 3);
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 3 || crs_init() != CRS_SUCCESS) return 2;
  const int count = atoi(argv[1]);
  cycles = atoi(argv[2]);
  pthread_t threads[64];
  for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, cycle, NULL);
  while (atomic_load(&running) < count) usleep(1000);
  puts("running");
  fflush(stdout);
  while (access("enough", F_OK) != 0) usleep(1000);
  atomic_store(&enough, true);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  if (atomic_load(&wrong) == 2) puts("saved in a section");
  puts("done");
  return atomic_load(&wrong);
}
