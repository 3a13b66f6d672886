// SPDX-License-Identifier: Apache-2.0
// needs: user
// expect: refused made again
#include "tests/target.h"

TARGET() {
  OK(mkdir("folder", 0700));
  const int fd = OK(open("folder/file", O_RDWR | O_CREAT, 0600));
  OK(unlink("folder/file"));
  OK(chmod("folder", 0500));

  checkpoint_here();

  OK(chmod("folder", 0700));
  EXPECT_EQ(write(fd, "x", 1), 1);
}
