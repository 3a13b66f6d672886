// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/target.h"

TARGET() {
  const int fd = open("scratch", O_RDWR | O_CREAT | O_EXCL, 0640);
  EXPECT(fd >= 0);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(pwrite(fd, &i, sizeof i, i * static_cast<off_t>(sizeof i)), 4);
  OK(unlink("scratch"));
  EXPECT_EQ(lseek(fd, 40, SEEK_SET), 40);
  struct stat before {};
  OK(fstat(fd, &before));

  checkpoint_here();

  struct stat after {};
  OK(fstat(fd, &after));
  EXPECT_EQ(after.st_nlink, before.st_nlink);
  EXPECT_EQ(after.st_size, before.st_size);
  EXPECT_EQ(after.st_uid, before.st_uid);
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
  EXPECT_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  EXPECT_EQ(after.st_atim.tv_sec, before.st_atim.tv_sec);
  EXPECT_EQ(after.st_atim.tv_nsec, before.st_atim.tv_nsec);
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 40);
  int value = 0;
  EXPECT_EQ(read(fd, &value, sizeof value), 4);
  EXPECT_EQ(value, 10);
  EXPECT(access("scratch", F_OK) != 0);
}
