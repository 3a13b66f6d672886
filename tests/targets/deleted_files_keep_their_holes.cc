// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  constexpr off_t far = off_t{1} << 40;
  OwnedFd fd(OK(open("scratch", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(unlink("scratch"));
  const char zeros[8192] = {};
  OK(pwrite(fd, "begin", 5, 100));
  OK(pwrite(fd, zeros, sizeof zeros, 1 << 20));  // written, though it looks like a hole
  OK(pwrite(fd, "far", 3, far));
  OK(ftruncate(fd, far + 12345));
  OwnedFd hole(OK(open("hole", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(unlink("hole"));
  OK(ftruncate(hole, 1 << 20));
  struct stat before {};
  OK(fstat(fd, &before));

  checkpoint_here();

  struct stat after {};
  OK(fstat(fd, &after));
  EXPECT_EQ(after.st_size, far + 12345);
  EXPECT_EQ(after.st_blocks, before.st_blocks);
  char text[8] = {};
  EXPECT_EQ(pread(fd, text, 5, 100), 5);
  EXPECT_STR(text, "begin");
  EXPECT_EQ(pread(fd, text, 5, far), 5);
  EXPECT(memcmp(text, "far\0\0", 5) == 0);
  EXPECT_EQ(lseek(fd, 4096, SEEK_DATA), off_t{1 << 20});
  EXPECT_EQ(lseek(fd, 1 << 20, SEEK_HOLE), off_t{(1 << 20) + 8192});
  EXPECT_EQ(lseek(fd, 2 << 20, SEEK_DATA), far);
  OK(fstat(hole, &after));
  EXPECT_EQ(after.st_size, off_t{1 << 20});
  EXPECT_EQ(after.st_blocks, 0);
}
