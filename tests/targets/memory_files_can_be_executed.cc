// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>

#include "tests/target.h"

TARGET() {
  const int fd = OK(memfd_create("program", MFD_CLOEXEC));
  const int from = OK(open("/bin/true", O_RDONLY | O_CLOEXEC));
  char piece[4096];
  for (ssize_t got; (got = OK(read(from, piece, sizeof piece))) > 0;)
    EXPECT_EQ(write(fd, piece, static_cast<size_t>(got)), got);
  OK(close(from));

  checkpoint_here();

  const pid_t child = OK(fork());
  if (child == 0) {
    char name[] = "true";
    char* const arguments[] = {name, nullptr};
    fexecve(fd, arguments, environ);
    _exit(errno);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}
