/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table FOLDER: every operation, called through the table.
 *
 * A layer that was written against a checkpointer's module table (struct of function pointers: init,
 * finalize, checkpoint, restart, disable, enable, prelaunch, reg_thread) goes on as it is: `crs_operations`
 * has the same entries in the same order. This program is such a layer in small. It prepares a program for
 * its start and starts it, saves and ends it, brings it back as its child, saves itself, and becomes what it
 * saved. Each step is told on standard output.
 *
 *     cc table.c $(pkg-config --cflags --libs crs) && mkdir folder && ./a.out folder
 */
#define _GNU_SOURCE
#include <crs/crs.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const crs_module* const module = &crs_operations;

static void need(int result, const char* what) {
  if (result == CRS_SUCCESS) {
    printf("%s: well\n", what);
    fflush(stdout);
    return;
  }
  printf("%s: %s: %s (%s)\n", what, crs_result_text(result), crs_last_error()->message,
         crs_last_error()->hint);
  exit(1);
}

static char** copy_of(char* const* words) {
  size_t count = 0;
  while (words[count] != NULL) count++;
  char** copy = calloc(count + 1, sizeof *copy);
  for (size_t i = 0; i < count; i++) copy[i] = strdup(words[i]);
  return copy;
}

static pid_t launch(const char* folder) {
  char *words[] = {"sleep", "100", NULL}, *surroundings[] = {"PATH=/usr/bin:/bin", "CRS_RANK=old", NULL};
  char *app = strdup("/usr/bin/sleep"), *cwd = strdup("/");
  char **arguments = copy_of(words), **environment = copy_of(surroundings);
  need(module->crs_prelaunch(3, folder, &app, &cwd, &arguments, &environment), "prelaunch");
  if (strcmp(environment[1], "CRS_RANK=3") != 0 || strncmp(environment[2], "CRS_STORE=", 10) != 0) exit(2);
  int executed[2];
  char byte;
  if (pipe2(executed, O_CLOEXEC) != 0) exit(2);
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(cwd) == 0) execve(app, arguments, environment);
    _exit(127);
  }
  close(executed[1]);
  (void)!read(executed[0], &byte, 1); /* its end is closed when the program is executed */
  close(executed[0]);
  return child;
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  char path[4096];
  need(module->crs_init(), "init");
  need(module->crs_reg_thread(), "reg_thread");
  need(module->crs_disable_checkpoint(), "disable");
  need(module->crs_enable_checkpoint(), "enable");

  crs_snapshot* other = NULL;
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  options.term = true;
  crs_state state = CRS_NONE;
  const pid_t first = launch(argv[1]);
  need(crs_snapshot_create(&other), "snapshot");
  snprintf(path, sizeof path, "%s/other", argv[1]);
  need(crs_snapshot_set_directory(other, path), "directory");
  need(module->crs_checkpoint(first, other, &options, &state), "checkpoint of another");
  if (state != CRS_TERM || crs_snapshot_pid(other) != first) return 3;
  int status = 0;
  if (waitpid(first, &status, 0) != first || !WIFSIGNALED(status)) return 4;

  pid_t again = 0;
  need(module->crs_restart(other, true, &again), "restart as a child");
  if (again <= 0 || kill(again, 0) != 0) return 5;
  if (kill(again, SIGTERM) != 0) return 6;
  /* As root the child is the program itself; otherwise the first process of its pid namespace, which passes
   * the end on. */
  if (waitpid(again, &status, 0) != again) return 7;

  crs_snapshot* own = NULL;
  need(crs_snapshot_create(&own), "snapshot");
  snprintf(path, sizeof path, "%s/own", argv[1]);
  need(crs_snapshot_set_directory(own, path), "directory");
  need(module->crs_checkpoint(0, own, NULL, &state), "checkpoint of oneself");
  if (state == CRS_RESTART) {
    need(module->crs_finalize(), "finalize, in the restored process");
    return 0;
  }
  if (state != CRS_CONTINUE) return 9;
  module->crs_restart(own, false, NULL); /* this process becomes the saved one, and ends with 0 */
  need(CRS_ERR_OTHER, "restart in place");
  return 10;
}
