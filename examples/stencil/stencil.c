/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stencil STEPS FILE: heat that spreads over a plate, 512 by 512 points; the field goes to FILE.
 *
 * What makes it restartable are the lines with crs_: its state is the field and the step. It is saved from
 * outside (crs checkpoint PID --component self) between two steps, or by itself at step $STENCIL_SAVE_AT, as
 * job "stencil", and ends then. `crs restart` starts $STENCIL_PLAIN where that is set: any build will do.
 *   cc -ffp-contract=off stencil.c $(pkg-config --cflags --libs crs)
 */
#include <crs/crs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { side = 512 };
static double field[side][side], next_field[side][side];
static long step;

static void advance(void) {
  for (int y = 1; y < side - 1; y++) {
    for (int x = 1; x < side - 1; x++) {
      const double around = field[y - 1][x] + field[y + 1][x] + field[y][x - 1] + field[y][x + 1];
      next_field[y][x] = field[y][x] + 0.1 * (around - 4 * field[y][x]);
    }
  }
  for (int y = 1; y < side - 1; y++) memcpy(&field[y][1], &next_field[y][1], (side - 2) * sizeof(double));
  step++;
}

static int save(void) {
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  crs_snapshot* snapshot = NULL;
  crs_state state;
  options.component = "self";
  crs_snapshot_create(&snapshot);
  crs_snapshot_set_job(snapshot, NULL, "stencil");
  const int result = crs_checkpoint(0, snapshot, &options, &state);
  if (result != CRS_SUCCESS) fprintf(stderr, "not saved: %s\n", crs_last_error()->message);
  crs_snapshot_free(snapshot);
  return result == CRS_SUCCESS ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long steps = atol(argv[1]);
  const long save_at = getenv("STENCIL_SAVE_AT") != NULL ? atol(getenv("STENCIL_SAVE_AT")) : -1;
  const char* const plain = getenv("STENCIL_PLAIN");
  const char* const command[] = {plain, argv[1], argv[2], NULL};
  int restarted = 0;
  for (int x = 0; x < side; x++) field[0][x] = 100.0 + x / 7.0;

  if (crs_init() != CRS_SUCCESS || crs_self_protect("field", field, sizeof field) != CRS_SUCCESS ||
      crs_self_protect("step", &step, sizeof step) != CRS_SUCCESS ||
      (plain != NULL && crs_self_set_restart_command(command, NULL, NULL) != CRS_SUCCESS) ||
      crs_self_restore(&restarted) != CRS_SUCCESS) {
    fprintf(stderr, "%s\n", crs_last_error()->message);
    return 1;
  }
  printf("%s at step %ld\n", restarted ? "goes on" : "begins", step);
  fflush(stdout);
  while (step < steps) {
    crs_disable_checkpoint_as("a step"); /* so that a snapshot holds the field between two steps */
    advance();
    crs_enable_checkpoint();
    if (step == save_at && !restarted) return save();
  }

  FILE* const file = fopen(argv[2], "wb");
  if (file == NULL || fwrite(field, sizeof field, 1, file) != 1 || fclose(file) != 0) return 1;
  crs_finalize();
  return 0;
}
