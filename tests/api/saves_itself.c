/* SPDX-License-Identifier: Apache-2.0 */
/* saves_itself FOLDER [term|stop] [TIMES]: a thread of it has the process saved TIMES times (1), each time to
 * FOLDER/N, while others compute. Each return writes "N STATE restarts R" to stdout. Exit status 0 when the
 * computation was right. */
#include <crs/crs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 3
#define ROUNDS 3000000

static const char *folder, *manner = "";
static int times = 1;
static atomic_int saving = 1;

static void* compute(void* argument) {
  unsigned long* sum = argument;
  for (unsigned long n = 0; n < ROUNDS || atomic_load(&saving); n++) {
    if (n < ROUNDS) *sum = *sum * 6364136223846793005ul + n;
  }
  return NULL;
}

static int complain(const char* what) {
  const crs_error* error = crs_last_error();
  printf("%s: %s: %s (%s)\n", what, crs_result_text(error->code), error->message, error->hint);
  return 1;
}

static void* save(void* unused) {
  (void)unused;
  crs_reg_thread();
  for (int number = 1; number <= times; number++) {
    crs_snapshot* snapshot = NULL;
    crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
    options.term = strcmp(manner, "term") == 0;
    options.stop = strcmp(manner, "stop") == 0;
    crs_state state = CRS_NONE;
    char path[4096];
    snprintf(path, sizeof path, "%s/%d", folder, number);
    if (crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
        crs_snapshot_set_directory(snapshot, path) != CRS_SUCCESS ||
        crs_checkpoint(0, snapshot, &options, &state) != CRS_SUCCESS)
      exit(complain("checkpoint"));
    crs_restart_information information = {sizeof information, 0, NULL};
    if (crs_restart_info(&information) != CRS_SUCCESS) exit(complain("restart information"));
    if (strcmp(crs_snapshot_directory(snapshot), path) != 0) exit(complain("directory"));
    printf("%d %s restarts %lu\n", number, crs_state_text(state), (unsigned long)information.restarts);
    fflush(stdout);
    crs_snapshot_free(snapshot);
  }
  atomic_store(&saving, 0);
  return NULL;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  folder = argv[1];
  if (argc > 2) manner = argv[2];
  if (argc > 3) times = atoi(argv[3]);
  if (crs_init() != CRS_SUCCESS) return complain("init");
  pthread_t workers[WORKERS], saver;
  unsigned long sums[WORKERS] = {0}, wanted = 0;
  for (int i = 0; i < WORKERS; i++) pthread_create(&workers[i], NULL, compute, &sums[i]);
  pthread_create(&saver, NULL, save, NULL);
  pthread_join(saver, NULL);
  for (int i = 0; i < WORKERS; i++) pthread_join(workers[i], NULL);
  for (unsigned long n = 0; n < ROUNDS; n++) wanted = wanted * 6364136223846793005ul + n;
  for (int i = 0; i < WORKERS; i++) {
    if (sums[i] != wanted) return 1;
  }
  return crs_finalize() == CRS_SUCCESS ? 0 : complain("finalize");
}
