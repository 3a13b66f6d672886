// SPDX-License-Identifier: Apache-2.0
// expect: refused holes
#include <fcntl.h>
#include <unistd.h>

#include "tests/target.h"

TARGET() {
  const int fd = open("scratch", O_RDWR | O_CREAT | O_EXCL, 0640);
  EXPECT(fd >= 0);
  OK(ftruncate(fd, 1 << 20));
  OK(unlink("scratch"));

  checkpoint_here();

  EXPECT_EQ(lseek(fd, 0, SEEK_DATA), -1);
}
