// SPDX-License-Identifier: Apache-2.0
// expect: refused lock mapping
#include <sys/file.h>

#include "tests/target.h"

TARGET() {
  int fd = OK(open("file", O_RDWR | O_CREAT, 0600));
  OK(ftruncate(fd, 4096));
  OK(flock(fd, LOCK_EX));
  OK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
  close(fd);

  checkpoint_here();

  OwnedFd other(OK(open("file", O_RDWR)));
  EXPECT_ERRNO(flock(other, LOCK_EX | LOCK_NB), EWOULDBLOCK);
}
