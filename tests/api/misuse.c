/* SPDX-License-Identifier: Apache-2.0 */
/* misuse: what makes no sense is answered with a defined error, and the state says ERROR. Prints each
 * failure. */
#include <crs/crs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void expect(const char* what, int got, int wanted) {
  if (got == wanted) return;
  failures++;
  printf("%s: %s (%d) instead of %s: %s\n", what, crs_result_text(got), got, crs_result_text(wanted),
         crs_last_error()->message);
}

static void expect_state(const char* what, crs_state got, crs_state wanted) {
  if (got == wanted) return;
  failures++;
  printf("%s: state %s instead of %s\n", what, crs_state_text(got), crs_state_text(wanted));
}

static void before_init(crs_snapshot** snapshot) {
  crs_state state = CRS_NONE;
  pid_t child = -5;
  expect("checkpoint before init", crs_checkpoint(0, *snapshot, NULL, &state), CRS_ERR_NOT_READY);
  expect_state("checkpoint before init", state, CRS_ERROR);
  expect("restart before init", crs_restart(*snapshot, true, &child), CRS_ERR_NOT_READY);
  expect("rollback before init", crs_rollback(*snapshot), CRS_ERR_NOT_READY);
  expect("save point before init", crs_savepoint_create(NULL, &state), CRS_ERR_NOT_READY);
  expect_state("save point before init", state, CRS_ERROR);
  expect("disable before init", crs_disable_checkpoint(), CRS_ERR_NOT_READY);
  expect("enable before init", crs_enable_checkpoint(), CRS_ERR_NOT_READY);
  expect("prelaunch before init", crs_prelaunch(0, NULL, NULL, NULL, NULL, NULL), CRS_ERR_NOT_READY);
  expect("reg_thread before init", crs_reg_thread(), CRS_ERR_NOT_READY);
  expect("finalize before init", crs_finalize(), CRS_ERR_NOT_READY);
  expect("snapshot before init", crs_snapshot_create(snapshot), CRS_ERR_NOT_READY);
  if (child != -5) failures++, puts("child_pid was written without a child");
}

static void wrong_options(crs_snapshot* snapshot) {
  crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
  crs_state state = CRS_NONE;
  options.term = options.stop = true;
  expect("term and stop", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  expect_state("term and stop", state, CRS_ERROR);
  options.term = options.stop = false;
  options.inc_prep_only = true;
  expect("inc_prep_only of another", crs_checkpoint(getppid(), snapshot, &options, &state),
         CRS_ERR_UNSUPPORTED);
  options.inc_recover_only = true;
  expect("both steps", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  options.inc_prep_only = false;
  expect("inc_recover_only first", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  options.inc_recover_only = false;
  options.inc_prep_only = true;
  expect("inc_prep_only", crs_checkpoint(0, snapshot, &options, &state), CRS_SUCCESS);
  expect_state("inc_prep_only", state, CRS_RUNNING);
  expect("inc_prep_only twice", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_BUSY);
  options.inc_prep_only = false;
  options.inc_recover_only = true;
  expect("inc_recover_only", crs_checkpoint(0, snapshot, &options, &state), CRS_SUCCESS);
  expect_state("inc_recover_only", state, CRS_RUNNING);
  options.inc_recover_only = false;
  uint64_t hook = 0;
  expect("a hook without a function", crs_hook_register("none", 0, NULL, NULL, &hook), CRS_ERR_USAGE);
  expect("a hook that is not there", crs_hook_unregister(77), CRS_ERR_USAGE);
  expect("a session that is not there", crs_quiesce_end(77), CRS_ERR_USAGE);
  options.attach_debugger = options.term = true;
  expect("attach_debugger and term", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  options.term = false;
  options.detach_debugger = true;
  expect("attach and detach", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  options.detach_debugger = false;
  options.inc_prep_only = true;
  expect("attach_debugger and inc_prep_only", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  options.attach_debugger = options.inc_prep_only = false;
  options.size = 3;
  expect("a size of 3", crs_checkpoint(0, snapshot, &options, &state), CRS_ERR_USAGE);
  options.size = sizeof options;
  options.component = "no-such-component";
  expect("an unknown component", crs_checkpoint(getpid(), snapshot, &options, &state), CRS_ERR_USAGE);
  if (strstr(crs_last_error()->message, "no-such-component") == NULL)
    failures++, puts("the message does not name it");
  expect("no snapshot", crs_checkpoint(0, NULL, NULL, &state), CRS_ERR_USAGE);
  expect("a negative pid", crs_checkpoint(-2, snapshot, NULL, &state), CRS_ERR_USAGE);
}

static void wrong_processes(crs_snapshot* snapshot) {
  crs_state state = CRS_NONE;
  const pid_t ended = fork();
  if (ended == 0) _exit(0);
  expect("a zombie", crs_checkpoint(ended, snapshot, NULL, &state), CRS_ERR_NOT_FOUND);
  expect_state("a zombie", state, CRS_ERROR);
  waitpid(ended, NULL, 0);
  expect("a dead process", crs_checkpoint(ended, snapshot, NULL, &state), CRS_ERR_NOT_FOUND);
}

static void wrong_snapshots(crs_snapshot* empty) {
  pid_t child = -5;
  crs_snapshot* opened = NULL;
  expect("restart of an empty one", crs_restart(empty, true, &child), CRS_ERR_USAGE);
  expect("rollback to an empty one", crs_rollback(empty), CRS_ERR_USAGE);
  expect("rollback to none", crs_rollback(NULL), CRS_ERR_USAGE);
  expect("no place for a save point", crs_savepoint_create(NULL, NULL), CRS_ERR_USAGE);
  expect("rollback to no save point", crs_savepoint_rollback(NULL), CRS_ERR_USAGE);
  expect("release of no save point", crs_savepoint_release(NULL), CRS_SUCCESS);
  expect("open a missing one", crs_snapshot_open("/no/such/snapshot", &opened), CRS_ERR_NOT_FOUND);
  if (opened != NULL || child != -5) failures++, puts("a handle or a pid was written");
  if (crs_last_error()->hint == NULL || crs_last_error()->phase[0] == '\0')
    failures++, puts("an error without a phase");
}

static void sections(crs_snapshot* snapshot) {
  crs_state state = CRS_NONE;
  expect("leave without enter", crs_enable_checkpoint(), CRS_ERR_USAGE);
  expect("enter", crs_disable_checkpoint(), CRS_SUCCESS);
  expect("try to enter once more", crs_try_disable_checkpoint(), CRS_SUCCESS);
  expect("oneself from a section", crs_checkpoint(0, snapshot, NULL, &state), CRS_ERR_USAGE);
  expect("leave", crs_enable_checkpoint(), CRS_SUCCESS);
  expect("leave", crs_enable_checkpoint(), CRS_SUCCESS);
  expect("leave once too often", crs_enable_checkpoint(), CRS_ERR_USAGE);
}

static void parameters(crs_snapshot* snapshot) {
  crs_service* service = NULL;
  crs_state state = CRS_NONE;
  expect("a service", crs_service_create(&service), CRS_SUCCESS);
  expect("a misspelled parameter", crs_service_set_parameter(service, "native.worker", "1"), CRS_SUCCESS);
  expect("its use", crs_service_checkpoint(service, 0, snapshot, NULL, &state), CRS_ERR_USAGE);
  if (strstr(crs_last_error()->hint, "native.workers") == NULL)
    failures++, printf("no nearest name: %s (%s)\n", crs_last_error()->message, crs_last_error()->hint);
  crs_state history[8];
  size_t count = 8;
  expect_state("a service after a failure", crs_service_state(service, history, &count), CRS_RUNNING);
  if (count < 2 || history[count - 2] != CRS_ERROR) failures++, puts("the history lacks the error");
  count = 8;
  expect_state("the other service", crs_service_state(NULL, history, &count), CRS_RUNNING);
  crs_service_destroy(service);
}

int main(void) {
  crs_snapshot* snapshot = NULL;
  before_init(&snapshot);
  expect("init", crs_init(), CRS_SUCCESS);
  expect("a second init", crs_init(), CRS_SUCCESS);
  expect("a snapshot", crs_snapshot_create(&snapshot), CRS_SUCCESS);
  wrong_options(snapshot);
  wrong_processes(snapshot);
  wrong_snapshots(snapshot);
  sections(snapshot);
  parameters(snapshot);
  if (crs_snapshot_directory(snapshot)[0] != '\0') failures++, puts("a failure filled the snapshot");
  crs_snapshot_free(snapshot);
  crs_snapshot_free(NULL);
  expect("the first finalize", crs_finalize(), CRS_SUCCESS);
  expect("still ready", crs_reg_thread(), CRS_SUCCESS);
  expect("enter", crs_disable_checkpoint(), CRS_SUCCESS);
  expect("the last finalize in a section", crs_finalize(), CRS_ERR_BUSY);
  expect("leave", crs_enable_checkpoint(), CRS_SUCCESS);
  expect("the second finalize", crs_finalize(), CRS_SUCCESS);
  expect("after finalize", crs_reg_thread(), CRS_ERR_NOT_READY);
  return failures != 0;
}
