// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  const int fd = OK(open("scratch", O_RDWR | O_CREAT | O_EXCL, 0600));
  EXPECT_EQ(write(fd, "bytes", 5), 5);
  if (geteuid() == 0) OK(fchown(fd, 1, 1));
  OK(fchmod(fd, 06751));
  OK(unlink("scratch"));
  struct stat before {};
  OK(fstat(fd, &before));

  checkpoint_here();

  struct stat after {};
  OK(fstat(fd, &after));
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_uid, before.st_uid);
}
