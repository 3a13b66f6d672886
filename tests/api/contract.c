/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contract checkpoint WHO COMPONENT DIRECTORY [MORE]
 *   WHO: 0, self, child (which it forks) or a number. MORE: term, stop, prep, recover, attach and detach, any
 * of them with '+' between, or kill. Prints "RESULT STATE COMPONENT HISTORY"; kill: and dies by SIGKILL at
 * once. contract restart SNAPSHOT As a child: prints "RESULT child" or "RESULT untouched", and "status N"
 * when the child has ended. contract serve [WORDS...] Offers state of its own, prints "runs WORDS", and ends
 * with 9 once the file "go" is there.
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

static char own_state[64] = "its state";

static void offer(void) {
  if (crs_self_protect("state", own_state, sizeof own_state) != CRS_SUCCESS) exit(5);
}

/* Which has got ready. */
static pid_t fork_child(int offers) {
  int ready[2];
  char byte = 0;
  if (pipe(ready) != 0) exit(6);
  const pid_t child = fork();
  if (child == 0) {
    close(ready[0]);
    if (crs_init() != CRS_SUCCESS) _exit(7);
    if (offers) offer();
    if (write(ready[1], "x", 1) != 1) _exit(8);
    close(ready[1]);
    for (;;) pause();
  }
  close(ready[1]);
  if (read(ready[0], &byte, 1) != 1) exit(6);
  close(ready[0]);
  return child;
}

static int has(const char* words, const char* word) {
  const size_t length = strlen(word);
  for (const char* at = words; (at = strstr(at, word)) != NULL; at += length) {
    if ((at == words || at[-1] == '+') && (at[length] == '\0' || at[length] == '+')) return 1;
  }
  return 0;
}

/* Alive and not stopped, stopped, or dead of SIGKILL. */
static const char* look_at_child(pid_t child) {
  int status = 0;
  const pid_t got = waitpid(child, &status, WNOHANG | WUNTRACED);
  if (got == 0) return "runs";
  if (got == child && WIFSTOPPED(status)) return "is stopped";
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "killed" : "harmed";
}

static int checkpoint(const char* who, const char* component, const char* directory, const char* more) {
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  crs_snapshot* snapshot = NULL;
  crs_state state = untouched;
  pid_t child = 0;
  pid_t pid = (pid_t)atoi(who);
  if (strcmp(who, "self") == 0) pid = getpid();
  if (strcmp(who, "child") == 0) pid = child = fork_child(strcmp(component, "self") == 0);
  if (child == 0 && strcmp(component, "self") == 0) offer();
  options.component = component;
  options.term = has(more, "term");
  options.stop = has(more, "stop");
  options.inc_prep_only = has(more, "prep");
  options.inc_recover_only = has(more, "recover");
  options.detach_debugger = has(more, "detach");
  if (crs_snapshot_create(&snapshot) != CRS_SUCCESS) return 1;
  crs_snapshot_set_directory(snapshot, directory);
  const int result = crs_checkpoint(pid, snapshot, &options, &state);
  if (result == CRS_SUCCESS && strcmp(more, "kill") == 0) kill(getpid(), SIGKILL);
  const char* became = "runs";
  for (int i = 0; (options.term || options.stop) && result == CRS_SUCCESS && child > 0 && i < 3000; i++) {
    became = look_at_child(child);
    if (strcmp(became, "runs") != 0) break;
    usleep(10000);
  }
  printf("%s %s [%s] ", crs_result_text(result), state == untouched ? "untouched" : crs_state_text(state),
         crs_snapshot_component_name(snapshot));
  tell_history();
  if (result != CRS_SUCCESS) printf("error: %s\n", crs_last_error()->message);
  if (child > 0) {
    if (!options.term || result != CRS_SUCCESS)
      printf("the child %s\n", options.stop && result == CRS_SUCCESS ? became : look_at_child(child));
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

static int serve(int argc, char** argv) {
  int restarted = 0;
  offer();
  if (crs_self_restore(&restarted) != CRS_SUCCESS || strcmp(own_state, "its state") != 0) return 3;
  printf("runs");
  for (int i = 2; i < argc; i++) printf(" %s", argv[i]);
  printf("\n");
  fflush(stdout);
  while (access("go", F_OK) != 0) usleep(20000);
  return 9;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "serve") == 0) return crs_init() == CRS_SUCCESS ? serve(argc, argv) : 1;
  if (argc < 3 || crs_init() != CRS_SUCCESS) return 1;
  if (strcmp(argv[1], "restart") == 0) return restart(argv[2]);
  if (argc < 5) return 1;
  return checkpoint(argv[2], argv[3], argv[4], argc > 5 ? argv[5] : "");
}
