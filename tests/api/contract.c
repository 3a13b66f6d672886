/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contract checkpoint WHO COMPONENT DIRECTORY [term|kill]
 *   WHO: 0, self, child (which it forks) or a number. Prints "RESULT STATE COMPONENT HISTORY"; `kill`: and
 * dies by SIGKILL at once. contract restart SNAPSHOT As a child: prints "RESULT child" or "RESULT untouched",
 * and "status N" when the child has ended.
 */
#include <crs/crs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const crs_state untouched = (crs_state)77;

static void tell_history(void) {
  crs_state history[32];
  size_t count = sizeof history / sizeof history[0];
  crs_service_state(NULL, history, &count);
  for (size_t i = 0; i < count; i++) printf("%s%s", i > 0 ? "," : "", crs_state_text(history[i]));
  printf("\n");
  fflush(stdout);
}

static pid_t fork_child(void) {
  const pid_t child = fork();
  if (child != 0) return child;
  for (;;) pause();
}

/* Alive and not stopped, or dead of SIGKILL. */
static const char* look_at_child(pid_t child) {
  int status = 0;
  const pid_t got = waitpid(child, &status, WNOHANG | WUNTRACED);
  if (got == 0) return "runs";
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "killed" : "harmed";
}

static int checkpoint(const char* who, const char* component, const char* directory, const char* more) {
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  crs_snapshot* snapshot = NULL;
  crs_state state = untouched;
  pid_t child = 0;
  pid_t pid = (pid_t)atoi(who);
  if (strcmp(who, "self") == 0) pid = getpid();
  if (strcmp(who, "child") == 0) pid = child = fork_child();
  options.component = component;
  options.term = strcmp(more, "term") == 0;
  if (crs_snapshot_create(&snapshot) != CRS_SUCCESS) return 1;
  crs_snapshot_set_directory(snapshot, directory);
  const int result = crs_checkpoint(pid, snapshot, &options, &state);
  if (result == CRS_SUCCESS && strcmp(more, "kill") == 0) kill(getpid(), SIGKILL);
  if (options.term && child > 0) {
    for (int i = 0; i < 1000 && strcmp(look_at_child(child), "runs") == 0; i++) usleep(10000);
  }
  printf("%s %s [%s] ", crs_result_text(result), state == untouched ? "untouched" : crs_state_text(state),
         crs_snapshot_component_name(snapshot));
  tell_history();
  if (result != CRS_SUCCESS) printf("error: %s\n", crs_last_error()->message);
  if (child > 0) {
    if (!options.term) printf("the child %s\n", look_at_child(child));
    kill(child, SIGKILL);
  }
  crs_snapshot_free(snapshot);
  return 0;
}

static int restart(const char* name) {
  crs_snapshot* snapshot = NULL;
  pid_t child = -77;
  int result = crs_snapshot_open(name, &snapshot);
  if (result == CRS_SUCCESS) result = crs_restart(snapshot, true, &child);
  printf("%s %s\n", crs_result_text(result), child == -77 ? "untouched" : child > 0 ? "child" : "wrong");
  if (result != CRS_SUCCESS) printf("error: %s\n", crs_last_error()->message);
  fflush(stdout);
  int status = 0;
  if (child > 0 && waitpid(child, &status, 0) == child) printf("status %d\n", WEXITSTATUS(status));
  crs_snapshot_free(snapshot);
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 3 || crs_init() != CRS_SUCCESS) return 1;
  if (strcmp(argv[1], "restart") == 0) return restart(argv[2]);
  if (argc < 5) return 1;
  return checkpoint(argv[2], argv[3], argv[4], argc > 5 ? argv[5] : "");
}
