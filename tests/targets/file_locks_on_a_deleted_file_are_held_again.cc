// SPDX-License-Identifier: Apache-2.0
#include <sys/file.h>

#include "tests/target.h"

TARGET() {
  OwnedFd fd(OK(open("file", O_RDWR | O_CREAT, 0600))), other(OK(open("file", O_RDWR)));
  OK(unlink("file"));
  OK(flock(fd, LOCK_EX));

  checkpoint_here();

  EXPECT_ERRNO(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
  OK(flock(fd, LOCK_UN));
  EXPECT_EQ(flock(other, LOCK_SH | LOCK_NB), 0);
}
