/* SPDX-License-Identifier: Apache-2.0 */
/* hooks SCRIPT...: registers three hooks, which write "NAME PHASE" to stdout, and runs until "end" is told on
 * stdin. What a hook does in a phase beside that is said by words NAME:PHASE:WHAT, where WHAT is
 *   fail     answers 7, always
 *   once     answers "not yet" the first time, and is ready 200 ms later
 *   hang     does not return until the file "go" is there
 *   exit     ends the process
 *   exec     executes sleep(1)
 *   section  enters and leaves a critical section
 *   save     asks for a checkpoint, which is an error
 * Other lines on stdin: "self DIR" has it save itself, "begin NS" and "stop" are a session, "fork" has a
 * child register a hook of its own and save itself to ./child, "child" has it keep a child, with which it
 * cannot be saved, until "alone". Each is answered by a line. */
#include <crs/crs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char* const phases[] = {"PREPARE",     "PRE_IMAGE", "POST_IMAGE", "CONTINUE",
                                     "RESTART_PRE", "RESTART",   "ERROR",      "TERM"};
static int words;
static char** script;
static int was_stalled;

static void say(const char* first, const char* second) {
  char line[8192];
  const int length = snprintf(line, sizeof line, "%s %s\n", first, second);
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(9);
}

static void* be_ready_later(void* unused) {
  usleep(200000);
  crs_hook_retry();
  return unused;
}

static int act(const char* what) {
  pthread_t thread;
  if (strcmp(what, "fail") == 0) return 7;
  if (strcmp(what, "never") == 0 && access("go", F_OK) != 0) return CRS_HOOK_NOT_YET;
  if (strcmp(what, "once") == 0 && !was_stalled) {
    was_stalled = 1;
    if (pthread_create(&thread, NULL, be_ready_later, NULL) != 0) return 8;
    pthread_detach(thread);
    return CRS_HOOK_NOT_YET;
  }
  while (strcmp(what, "hang") == 0 && access("go", F_OK) != 0) usleep(5000);
  if (strcmp(what, "exit") == 0) _exit(3);
  if (strcmp(what, "exec") == 0) execlp("sleep", "sleep", "100", (char*)NULL);
  if (strcmp(what, "section") == 0 &&
      (crs_disable_checkpoint() != CRS_SUCCESS || crs_enable_checkpoint() != CRS_SUCCESS))
    return 9;
  if (strcmp(what, "save") == 0) {
    crs_snapshot* snapshot = NULL;
    if (crs_snapshot_create(&snapshot) != CRS_ERR_USAGE) return 10;
  }
  return CRS_HOOK_OK;
}

static int on_phase(crs_phase phase, void* context) {
  const char* name = context;
  char start[64];
  const int length = snprintf(start, sizeof start, "%s:%s:", name, phases[phase]);
  say(name, phases[phase]);
  for (int i = 1; i < words; i++) {
    if (strncmp(script[i], start, (size_t)length) == 0) return act(script[i] + length);
  }
  return CRS_HOOK_OK;
}

static void answer(const char* what, int result) {
  char line[6000];
  snprintf(line, sizeof line, "%s %s", crs_result_text(result), crs_last_error()->message);
  say(what, line);
}

static void save_itself(const char* directory) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  if (crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
      crs_snapshot_set_directory(snapshot, directory) != CRS_SUCCESS)
    _exit(7);
  const int result = crs_checkpoint(0, snapshot, NULL, &state);
  say("state", crs_state_text(state));
  answer("self", result);
  crs_snapshot_free(snapshot);
}

static int count_control_files(void) {
  int found = 0;
  for (int fd = 0; fd < 1024; fd++) {
    char link[64], target[64] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, "crs-control") != NULL) found++;
  }
  return found;
}

static void run_child(void) {
  const pid_t child = fork();
  if (child == 0) {
    if (count_control_files() != 1) _exit(4);  // its own, and its parent's no more
    if (crs_init() != CRS_SUCCESS) _exit(1);
    uint64_t id = 0;
    if (crs_hook_register("child", 5, on_phase, (void*)"child", &id) != CRS_SUCCESS) _exit(2);
    save_itself("child");
    _exit(crs_hook_unregister(id) == CRS_SUCCESS ? 0 : 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  say("fork", status == 0 ? "well" : "badly");
}

static pid_t keep_child(void) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  say("child", "kept");
  return child;
}

int main(int argc, char** argv) {
  words = argc;
  script = argv;
  uint64_t ids[3];
  uint32_t token = 0;
  pid_t child = 0;
  char line[4200];
  if (crs_init() != CRS_SUCCESS ||
      crs_hook_register("second", 20, on_phase, (void*)"second", &ids[1]) != CRS_SUCCESS ||
      crs_hook_register("first", 10, on_phase, (void*)"first", &ids[0]) != CRS_SUCCESS ||
      crs_hook_register("third", 20, on_phase, (void*)"third", &ids[2]) != CRS_SUCCESS)
    return 2;
  say("ready", "");
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "self ", 5) == 0) save_itself(line + 5);
    if (strncmp(line, "begin ", 6) == 0)
      answer("begin", crs_quiesce_begin(strtoull(line + 6, NULL, 10), &token));
    if (strcmp(line, "stop") == 0) answer("stop", crs_quiesce_end(token));
    if (strcmp(line, "unregister") == 0) answer("unregister", crs_hook_unregister(ids[1]));
    if (strcmp(line, "fork") == 0) run_child();
    if (strcmp(line, "child") == 0) child = keep_child();
    if (strcmp(line, "alone") == 0 && kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child)
      say("child", "gone");
    if (strcmp(line, "end") == 0) break;
  }
  answer("finalize", crs_finalize());
  return 0;
}
