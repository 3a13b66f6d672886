// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <sys/sysmacros.h>

#include "tests/target.h"

TARGET() {
  if (mknod("zero", S_IFCHR | 0640, makedev(1, 5)) != 0) SKIP("no device can be made here");
  OK(chmod("zero", 0640));
  OK(chown("zero", 1, 2));
  const int zero = open("zero", O_RDWR);
  if (zero < 0) SKIP("devices on this file system cannot be opened");
  OK(unlink("zero"));

  checkpoint_here();

  struct stat status {};
  OK(fstat(zero, &status));
  EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFCHR | 0640));
  EXPECT_EQ(status.st_rdev, makedev(1, 5));
  EXPECT_EQ(status.st_uid, 1u);
  EXPECT_EQ(status.st_nlink, 0u);
  char byte = 'x';
  EXPECT_EQ(read(zero, &byte, 1), 1);
  EXPECT_EQ(byte, 0);
}
