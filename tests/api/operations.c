/* SPDX-License-Identifier: Apache-2.0 */
/* operations FOLDER WHAT [PID]: checkpoints and restarts in the background. It writes what happens, a line
 * each. */
#include <crs/crs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) {                                                                           \
      printf("line %d: %s does not hold: %s\n", __LINE__, #condition, crs_last_error()->message); \
      exit(1);                                                                                    \
    }                                                                                             \
  } while (0)

static const char* folder;

static crs_snapshot* snapshot_at(const char* name) {
  crs_snapshot* snapshot = NULL;
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  CHECK(crs_snapshot_create(&snapshot) == CRS_SUCCESS);
  CHECK(crs_snapshot_set_directory(snapshot, path) == CRS_SUCCESS);
  return snapshot;
}

static crs_operation* start(pid_t pid, const char* name, crs_snapshot** snapshot) {
  crs_operation* operation = NULL;
  *snapshot = snapshot_at(name);
  CHECK(crs_checkpoint_start(NULL, pid, *snapshot, NULL, &operation) == CRS_SUCCESS);
  return operation;
}

static void say(const char* line) {
  puts(line);
  fflush(stdout);
}

/* Until the operation is delayed by a critical section of the process. */
static void wait_until_delayed(crs_operation* operation) {
  crs_progress progress = {.size = sizeof progress};
  do {
    CHECK(crs_operation_progress(operation, &progress) == CRS_SUCCESS);
    CHECK(crs_operation_wait(operation, 0, NULL, NULL) == CRS_ERR_BUSY);
    usleep(5000);
  } while (strstr(progress.delayed, "'not now'") == NULL);
  CHECK(progress.delayed_since_ns != 0);
}

/* Of itself: goes on, and comes back. */
static void oneself(void) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  crs_operation* operation = start(0, "1", &snapshot);
  struct pollfd ended = {crs_operation_fd(operation), POLLIN, 0};
  CHECK(poll(&ended, 1, 60000) == 1);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_SUCCESS);
  crs_progress progress = {.size = sizeof progress};
  CHECK(crs_operation_progress(operation, &progress) == CRS_SUCCESS);
  CHECK(strcmp(progress.phase, "ended") == 0 && progress.delayed[0] == '\0');
  CHECK(crs_snapshot_pid(snapshot) == getpid());
  CHECK(crs_operation_cancel(operation) == CRS_SUCCESS); /* too late for it */
  CHECK(crs_operation_wait(operation, 0, &state, NULL) == CRS_SUCCESS);
  crs_operation_free(operation);
  say(crs_state_text(state));
}

/* One that waits for a critical section, behind it another one, which is cancelled, and a third. */
static void queue(void) {
  crs_snapshot* snapshots[3];
  crs_state state = CRS_NONE;
  crs_progress progress = {.size = sizeof progress};
  CHECK(crs_disable_checkpoint_as("not now") == CRS_SUCCESS);
  crs_operation* first = start(0, "1", &snapshots[0]);
  wait_until_delayed(first);
  crs_operation* second = start(0, "2", &snapshots[1]);
  crs_operation* third = start(0, "3", &snapshots[2]);
  CHECK(crs_finalize() == CRS_ERR_BUSY);
  CHECK(crs_operation_progress(second, &progress) == CRS_SUCCESS && strcmp(progress.phase, "queued") == 0);
  CHECK(crs_operation_cancel(second) == CRS_SUCCESS);
  CHECK(crs_operation_wait(second, UINT64_MAX, &state, NULL) == CRS_ERR_CANCELLED && state == CRS_ERROR);
  CHECK(crs_operation_wait(third, 1000000, &state, NULL) == CRS_ERR_BUSY);
  CHECK(crs_enable_checkpoint() == CRS_SUCCESS);
  CHECK(crs_operation_wait(third, UINT64_MAX, &state, NULL) == CRS_SUCCESS);
  CHECK(state == CRS_CONTINUE || state == CRS_RESTART); /* once each */
  CHECK(crs_operation_wait(first, 0, &state, NULL) == CRS_SUCCESS && state == CRS_CONTINUE);
  crs_operation_free(first);
  crs_operation_free(second);
  crs_operation_free(third);
  say("done");
}

/* Cancelled, and out of time, while it waits for a critical section; freed without a wait. */
static void give_up(void) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  CHECK(crs_disable_checkpoint_as("not now") == CRS_SUCCESS);
  crs_operation* operation = start(0, "1", &snapshot);
  wait_until_delayed(operation);
  CHECK(crs_operation_cancel(operation) == CRS_SUCCESS);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_ERR_CANCELLED && state == CRS_ERROR);
  crs_operation_free(operation);

  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  options.timeout_ns = 300000000;
  char component[] = "native";
  options.component = component;
  CHECK(crs_checkpoint_start(NULL, 0, snapshot, &options, &operation) == CRS_SUCCESS);
  memset(component, 'x', sizeof component - 1); /* it was copied */
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_ERR_TIMEOUT && state == CRS_ERROR);
  crs_operation_free(operation);

  operation = start(0, "1", &snapshot);
  wait_until_delayed(operation);
  crs_operation_free(operation);
  CHECK(crs_enable_checkpoint() == CRS_SUCCESS);
  say("done");
}

/* Cancelled at any moment of its work. Then one that is not. */
static void cancel_often(pid_t pid) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  int cancelled = 0, made = 0;
  for (int i = 0; i < 25; i++) {
    char name[16];
    snprintf(name, sizeof name, "c%d", i);
    crs_operation* operation = start(pid, name, &snapshot);
    usleep((useconds_t)(i * 2500));
    CHECK(crs_operation_cancel(operation) == CRS_SUCCESS);
    const int result = crs_operation_wait(operation, UINT64_MAX, &state, NULL);
    CHECK(result == CRS_SUCCESS || result == CRS_ERR_CANCELLED);
    if (result == CRS_SUCCESS) made++;
    if (result == CRS_ERR_CANCELLED) cancelled++;
    printf("%s %s\n", name, result == CRS_SUCCESS ? "made" : "cancelled");
    crs_operation_free(operation);
    crs_snapshot_free(snapshot);
  }
  CHECK(cancelled > 0 && cancelled + made == 25);
  crs_operation* operation = start(pid, "last", &snapshot);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_SUCCESS && state == CRS_CONTINUE);
  crs_operation_free(operation);
  say("done");
}

static void bring_back(void) {
  crs_snapshot* snapshot = NULL;
  crs_operation* operation = NULL;
  crs_state state = CRS_NONE;
  char path[4096];
  pid_t child = -1;
  int status = 0;
  snprintf(path, sizeof path, "%s/last", folder);
  CHECK(crs_snapshot_open(path, &snapshot) == CRS_SUCCESS);
  CHECK(crs_restart_start(NULL, snapshot, &operation) == CRS_SUCCESS);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, &child) == CRS_SUCCESS && state == CRS_RUNNING);
  CHECK(child > 0 && kill(child, 0) == 0);
  crs_operation_free(operation);
  CHECK(kill(child, SIGTERM) == 0 && waitpid(child, &status, 0) == child);
  /* One that fails leaves no child. */
  snprintf(path, sizeof path, "%s/last/state.pb", folder);
  CHECK(unlink(path) == 0);
  child = -1;
  CHECK(crs_restart_start(NULL, snapshot, &operation) == CRS_SUCCESS);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, &child) == CRS_ERR_BAD_SNAPSHOT);
  CHECK(child == -1 && state == CRS_ERROR && waitpid(-1, &status, WNOHANG) == -1);
  crs_operation_free(operation);
  say("done");
}

/* A child that was forked meanwhile has handles, a queue of its own, and operations of its own. */
static void fork_meanwhile(void) {
  crs_snapshot* snapshot = NULL;
  crs_state state = CRS_NONE;
  CHECK(crs_disable_checkpoint_as("not now") == CRS_SUCCESS);
  crs_operation* operation = start(0, "1", &snapshot);
  wait_until_delayed(operation);
  const pid_t child = fork();
  if (child == 0) {
    crs_progress progress = {.size = sizeof progress};
    crs_snapshot* own = NULL;
    CHECK(crs_operation_wait(operation, 0, &state, NULL) == CRS_ERR_USAGE);
    CHECK(crs_operation_cancel(operation) == CRS_ERR_USAGE);
    CHECK(crs_operation_progress(operation, &progress) == CRS_ERR_USAGE);
    crs_operation_free(operation);
    operation = start(0, "child", &own);
    CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_SUCCESS && state == CRS_CONTINUE);
    crs_operation_free(operation);
    CHECK(crs_finalize() == CRS_SUCCESS);
    exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(crs_operation_wait(operation, 0, NULL, NULL) == CRS_ERR_BUSY);
  CHECK(crs_enable_checkpoint() == CRS_SUCCESS);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_SUCCESS && state == CRS_CONTINUE);
  crs_operation_free(operation);
  say("done");
}

static void misuse(void) {
  crs_snapshot* snapshot = snapshot_at("1");
  crs_operation* operation = NULL;
  crs_state state = CRS_NONE;
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  CHECK(crs_checkpoint_start(NULL, 0, snapshot, NULL, NULL) == CRS_ERR_USAGE);
  CHECK(crs_checkpoint_start(NULL, 0, NULL, NULL, &operation) == CRS_ERR_USAGE);
  CHECK(crs_checkpoint_start(NULL, -1, snapshot, NULL, &operation) == CRS_ERR_USAGE);
  options.inc_prep_only = true;
  CHECK(crs_checkpoint_start(NULL, 0, snapshot, &options, &operation) == CRS_ERR_USAGE);
  options.inc_prep_only = false;
  options.size = 3;
  CHECK(crs_checkpoint_start(NULL, 0, snapshot, &options, &operation) == CRS_ERR_USAGE);
  CHECK(crs_restart_start(NULL, snapshot, &operation) == CRS_ERR_USAGE); /* it is empty */
  CHECK(operation == NULL);
  CHECK(crs_operation_wait(NULL, 0, &state, NULL) == CRS_ERR_USAGE && state == CRS_ERROR);
  CHECK(crs_operation_cancel(NULL) == CRS_ERR_USAGE && crs_operation_fd(NULL) == -1);
  crs_operation_free(NULL);
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  CHECK(waitpid(gone, NULL, 0) == gone);
  operation = start(gone, "2", &snapshot);
  CHECK(crs_operation_wait(operation, UINT64_MAX, &state, NULL) == CRS_ERR_NOT_FOUND && state == CRS_ERROR);
  crs_progress progress = {.size = 3};
  CHECK(crs_operation_progress(operation, &progress) == CRS_ERR_USAGE);
  crs_operation_free(operation);
  CHECK(crs_finalize() == CRS_SUCCESS);
  CHECK(crs_checkpoint_start(NULL, 0, snapshot, NULL, &operation) == CRS_ERR_NOT_READY);
  say("done");
}

/* exit(3) while one is going on. */
static void leave(void) {
  crs_snapshot* snapshot = NULL;
  CHECK(crs_disable_checkpoint_as("not now") == CRS_SUCCESS);
  wait_until_delayed(start(0, "1", &snapshot));
  exit(0);
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  folder = argv[1];
  CHECK(crs_init() == CRS_SUCCESS);
  if (strcmp(argv[2], "oneself") == 0) oneself();
  if (strcmp(argv[2], "queue") == 0) queue();
  if (strcmp(argv[2], "give-up") == 0) give_up();
  if (strcmp(argv[2], "cancel") == 0) cancel_often(atoi(argv[3]));
  if (strcmp(argv[2], "restart") == 0) bring_back();
  if (strcmp(argv[2], "fork") == 0) fork_meanwhile();
  if (strcmp(argv[2], "misuse") == 0) misuse();
  if (strcmp(argv[2], "exit") == 0) leave();
  return 0;
}
