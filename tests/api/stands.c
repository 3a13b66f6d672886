/* SPDX-License-Identifier: Apache-2.0 */
/* stands [FOLDER]: three threads count until the file "go" is there; exit status 0. With FOLDER it first has
 * itself saved to FOLDER/1, and waits for a debugger then; it writes how that ended. */
#include <crs/crs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_ulong counts[3];

__attribute__((noinline)) void tick(int which) {
  atomic_fetch_add(&counts[which], 1);
}

static void* count(void* argument) {
  do {
    tick((int)(long)argument);
    usleep(1000);
  } while (access("go", F_OK) != 0);
  return NULL;
}

int main(int argc, char** argv) {
  pthread_t threads[2];
  for (long i = 1; i < 3; i++) {
    if (pthread_create(&threads[i - 1], NULL, count, (void*)i) != 0) return 1;
  }
  if (argc > 1) {
    crs_snapshot* snapshot = NULL;
    crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
    crs_state state = CRS_NONE;
    char path[4096];
    snprintf(path, sizeof path, "%s/1", argv[1]);
    options.attach_debugger = true;
    if (crs_init() != CRS_SUCCESS || crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
        crs_snapshot_set_directory(snapshot, path) != CRS_SUCCESS)
      return 2;
    const int result = crs_checkpoint(0, snapshot, &options, &state);
    printf("%s %s\n", crs_result_text(result), crs_state_text(state));
  } else {
    puts("counts");
  }
  fflush(stdout);
  count((void*)0);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 3; i++) {
    if (counts[i] == 0) return 3;
  }
  return 0;
}
