/* SPDX-License-Identifier: Apache-2.0 */
/* long_section [fork]: is in a critical section called "long one" until there is a file "leave"; says
 * "inside" then "left". With "fork" a child, whose pid follows "inside", waits for the same file outside of
 * any section. */
#include <crs/crs.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void await_leave(void) {
  while (access("leave", F_OK) != 0) usleep(10000);
}

int main(int argc, char** argv) {
  (void)argv;
  if (crs_init() != CRS_SUCCESS || crs_disable_checkpoint_as("long one") != CRS_SUCCESS) return 2;
  pid_t child = 0;
  if (argc > 1) {
    child = fork();
    if (child == 0) {
      fclose(fopen("child", "w"));
      await_leave();
      return crs_enable_checkpoint() == CRS_ERR_USAGE ? 0 : 1; /* it never entered one */
    }
  }
  printf("inside %d\n", child);
  fflush(stdout);
  await_leave();
  if (crs_enable_checkpoint() != CRS_SUCCESS) return 1;
  puts("left");
  fflush(stdout);
  int status = 0;
  if (child != 0 && (waitpid(child, &status, 0) != child || status != 0)) return 3;
  return crs_finalize() == CRS_SUCCESS ? 0 : 1;
}
