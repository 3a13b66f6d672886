/* SPDX-License-Identifier: Apache-2.0 */
/* long_section [fork | try | forge]: is in a critical section called "long one" until there is a file
 * "leave"; says "inside", then, after one more section, "left". With "fork" a child, whose pid follows
 * "inside", waits for the same file outside of any section. With "try" another thread tries to enter a
 * section without waiting: "busy" once it cannot, "open" once it can again. With "forge" the label has
 * lines. */
#include <crs/crs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void await_leave(void) {
  while (access("leave", F_OK) != 0) usleep(10000);
}

static void say(const char* word) {
  puts(word);
  fflush(stdout);
}

static void* try_to_enter(void* unused) {
  while (crs_try_disable_checkpoint() == CRS_SUCCESS) {
    crs_enable_checkpoint();
    usleep(1000);
  }
  say("busy");
  while (crs_try_disable_checkpoint() == CRS_ERR_BUSY) usleep(1000);
  crs_enable_checkpoint();
  say("open");
  return unused;
}

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  const char* label = strcmp(mode, "forge") == 0 ? "one\ncrs: note: two" : "long one";
  if (crs_init() != CRS_SUCCESS || crs_disable_checkpoint_as(label) != CRS_SUCCESS) return 2;
  pid_t child = 0;
  if (strcmp(mode, "fork") == 0) {
    child = fork();
    if (child == 0) {
      fclose(fopen("child", "w"));
      await_leave();
      return crs_enable_checkpoint() == CRS_ERR_USAGE ? 0 : 1; /* it never entered one */
    }
  }
  printf("inside %d\n", child);
  fflush(stdout);
  pthread_t thread;
  const int tries = strcmp(mode, "try") == 0;
  if (tries && pthread_create(&thread, NULL, try_to_enter, NULL) != 0) return 4;
  await_leave();
  if (crs_enable_checkpoint() != CRS_SUCCESS) return 1;
  if (crs_disable_checkpoint() != CRS_SUCCESS || crs_enable_checkpoint() != CRS_SUCCESS) return 1;
  if (tries) pthread_join(thread, NULL);
  say("left");
  int status = 0;
  if (child != 0 && (waitpid(child, &status, 0) != child || status != 0)) return 3;
  return crs_finalize() == CRS_SUCCESS ? 0 : 1;
}
