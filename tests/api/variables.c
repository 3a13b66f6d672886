/* SPDX-License-Identifier: Apache-2.0 */
/* variables FOLDER [restart NAME VALUE]: has itself saved to FOLDER/1, and writes what a restart handed over
 * as FIRST and SECOND, with its environment's FIRST behind it. With restart: brings FOLDER/1 back as its
 * child with that variable, and ends as that does. */
#include <crs/crs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static int complain(const char* what) {
  const crs_error* error = crs_last_error();
  printf("%s: %s: %s (%s)\n", what, crs_result_text(error->code), error->message, error->hint);
  return 1;
}

static const char* or_none(const char* text) {
  return text != NULL ? text : "(none)";
}

static int restart(const char* path, const char* name, const char* value) {
  crs_snapshot* snapshot = NULL;
  pid_t child = 0;
  int status = 0;
  if (crs_snapshot_open(path, &snapshot) != CRS_SUCCESS) return complain("open");
  if (crs_snapshot_set_variable(snapshot, "A=B", "1") != CRS_ERR_USAGE ||
      crs_snapshot_set_variable(snapshot, "", "1") != CRS_ERR_USAGE)
    return complain("a name that is none");
  if (crs_snapshot_set_variable(snapshot, "SECOND", "taken back") != CRS_SUCCESS ||
      crs_snapshot_set_variable(snapshot, "SECOND", NULL) != CRS_SUCCESS ||
      crs_snapshot_set_variable(snapshot, name, value) != CRS_SUCCESS)
    return complain("variable");
  if (crs_rollback(snapshot) != CRS_ERR_USAGE) return complain("going back with a variable");
  if (crs_restart(snapshot, true, &child) != CRS_SUCCESS) return complain("restart");
  crs_snapshot_free(snapshot);
  if (waitpid(child, &status, 0) != child) return 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char** argv) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  char path[4096];
  if (argc < 2) return 2;
  snprintf(path, sizeof path, "%s/1", argv[1]);
  if (crs_restart_variable("FIRST") != NULL) return complain("a variable before init");
  if (crs_init() != CRS_SUCCESS) return complain("init");
  if (argc == 5 && strcmp(argv[2], "restart") == 0) return restart(path, argv[3], argv[4]);
  if (crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
      crs_snapshot_set_directory(snapshot, path) != CRS_SUCCESS ||
      crs_checkpoint(0, snapshot, NULL, &state) != CRS_SUCCESS)
    return complain("checkpoint");
  printf("%s FIRST %s SECOND %s getenv %s\n", crs_state_text(state), or_none(crs_restart_variable("FIRST")),
         or_none(crs_restart_variable("SECOND")), or_none(getenv("FIRST")));
  return 0;
}
