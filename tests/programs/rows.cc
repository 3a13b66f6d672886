// SPDX-License-Identifier: Apache-2.0
// rows FILE COUNT DELAY_MS [EXIT_STATUS]: appends "row 1" to "row COUNT" to FILE, one write(2) each; "-" is
// stdout.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  int fd = strcmp(argv[1], "-") == 0 ? STDOUT_FILENO : open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd < 0) return 3;
  const int count = atoi(argv[2]);
  const int delay = atoi(argv[3]);
  for (int i = 1; i <= count; i++) {
    char line[32];
    const int length = snprintf(line, sizeof line, "row %d\n", i);
    if (write(fd, line, static_cast<size_t>(length)) != length) return 4;
    struct timespec pause = {delay / 1000, delay % 1000 * 1000000L};
    if (nanosleep(&pause, nullptr) != 0) return 5;  // a sleep that is cut short is a finding
  }
  return argc > 4 ? atoi(argv[4]) : 0;
}
