/* SPDX-License-Identifier: Apache-2.0 */
/* rolls_back FOLDER rollback|restart [THREADS]: saves itself to FOLDER/1, counts on, and goes back to that,
 * with the same pid; prints "RESTART value 1 restarts 1" then. Exit status 4: it was refused, and went on
 * (error on stdout). */
#include <crs/crs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complain(const char* what, int status) {
  const crs_error* error = crs_last_error();
  printf("%s: %s: %s (%s)\n", what, crs_result_text(error->code), error->message, error->hint);
  fflush(stdout);
  return status;
}

static void* sleep_on(void* unused) {
  (void)unused;
  for (;;) pause();
  return NULL;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  char path[4096];
  snprintf(path, sizeof path, "%s/1", argv[1]);
  for (int i = 0; argc > 3 && i < atoi(argv[3]); i++) {
    pthread_t thread;
    pthread_create(&thread, NULL, sleep_on, NULL);
  }
  volatile int value = 1;
  const pid_t own = getpid(), parent = getppid();
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  if (crs_init() != CRS_SUCCESS || crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
      crs_snapshot_set_directory(snapshot, path) != CRS_SUCCESS ||
      crs_checkpoint(0, snapshot, NULL, &state) != CRS_SUCCESS)
    return complain("checkpoint", 1);
  if (state == CRS_CONTINUE) {
    value = 2;
    if (crs_disable_checkpoint() != CRS_SUCCESS || crs_rollback(snapshot) != CRS_ERR_USAGE ||
        crs_enable_checkpoint() != CRS_SUCCESS)
      return complain("rollback in a critical section", 1);
    if (strcmp(argv[2], "rollback") == 0)
      crs_rollback(snapshot);
    else
      crs_restart(snapshot, false, NULL);
    return complain(argv[2], value == 2 ? 4 : 1);
  }
  crs_restart_information information = {sizeof information, 0, NULL};
  if (crs_restart_info(&information) != CRS_SUCCESS) return complain("restart information", 1);
  printf("%s value %d restarts %lu%s\n", crs_state_text(state), value, (unsigned long)information.restarts,
         getpid() == own && getppid() == parent ? "" : " somewhere else");
  return 0;
}
