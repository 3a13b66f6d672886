/* SPDX-License-Identifier: Apache-2.0 */
/* save_points ROUNDS [stay]: makes a save point, and goes back to it ROUNDS times; each life adds a line to
 * the file "log". Then a second one is made and released, and, unless it is to "stay" (until it is killed),
 * the first one is left to the end of the process. */
#include <crs/crs.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(const char* what) {
  const crs_error* error = crs_last_error();
  fprintf(stderr, "%s: %s: %s (%s)\n", what, crs_result_text(error->code), error->message, error->hint);
  return 1;
}

/* Not open at a save point, so it is no part of one. Answers how many lines there are. */
static long add_line(const char* line) {
  int fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line)) exit(3);
  struct stat status;
  if (fstat(fd, &status) != 0) exit(3);
  close(fd);
  return (long)status.st_size / (long)strlen(line);
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const long rounds = atol(argv[1]);
  const size_t bytes = 8u << 20;
  unsigned char* memory = malloc(bytes);
  if (memory == NULL || crs_init() != CRS_SUCCESS) return complain("init");
  memset(memory, 1, bytes);
  const pid_t own = getpid();
  crs_savepoint* point = NULL;
  crs_state state = CRS_NONE;
  if (crs_savepoint_create(&point, &state) != CRS_SUCCESS) return complain("create");
  for (size_t i = 0; i < bytes; i++) {
    if (memory[i] != 1) return 5;
  }
  if (getpid() != own || (state != CRS_CONTINUE && state != CRS_RESTART)) return 6;
  const long lives = add_line(state == CRS_CONTINUE ? "continue\n" : "restarts\n");
  if ((lives == 1) != (state == CRS_CONTINUE)) return 7;
  crs_savepoint* second = NULL;
  if (crs_savepoint_create(&second, &state) != CRS_SUCCESS) return complain("create a second one");
  if (state != CRS_CONTINUE) return 8;
  memset(memory, 2, bytes);
  if (lives <= rounds) {
    crs_savepoint_rollback(point);
    return complain("rollback");
  }
  if (crs_savepoint_release(second) != CRS_SUCCESS) return complain("release");
  if (argc > 2) {
    printf("stays\n");
    fflush(stdout);
    for (;;) pause();
  }
  return 0;
}
