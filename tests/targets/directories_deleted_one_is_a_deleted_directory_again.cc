// SPDX-License-Identifier: Apache-2.0
#include <initializer_list>

#include "tests/target.h"

TARGET() {
  OK(mkdir("parent", 0700));
  OK(mkdir("parent/child", 0700));
  if (geteuid() == 0) OK(chown("parent/child", 1, 2));
  OK(chmod("parent/child", 02510));
  const timespec times[2] = {{0, UTIME_NOW}, {123456, 789}};
  OK(utimensat(AT_FDCWD, "parent/child", times, 0));
  const int listing = OK(open("parent/child", O_RDONLY | O_DIRECTORY));
  const int another = OK(open("parent/child", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  const int handle = OK(open("parent/child", O_PATH));
  OK(rmdir("parent/child"));
  OK(rmdir("parent"));
  struct stat before {};
  OK(fstat(listing, &before));

  checkpoint_here();

  struct stat after {
  }, other{};
  OK(fstat(listing, &after));
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_nlink, 0u);
  EXPECT_EQ(after.st_uid, before.st_uid);
  EXPECT_EQ(after.st_gid, before.st_gid);
  EXPECT_EQ(after.st_mtim.tv_sec, 123456);
  EXPECT_EQ(after.st_mtim.tv_nsec, 789);
  for (const int fd : {another, handle}) {
    OK(fstat(fd, &other));
    EXPECT_EQ(other.st_ino, after.st_ino);
  }
  EXPECT_EQ(fcntl(another, F_GETFL) & O_NOFOLLOW, O_NOFOLLOW);
  EXPECT_ERRNO(openat(handle, "file", O_WRONLY | O_CREAT, 0600), ENOENT);
  EXPECT_ERRNO(access("parent", F_OK), ENOENT);
}
