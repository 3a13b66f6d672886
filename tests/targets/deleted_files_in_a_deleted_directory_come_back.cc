// SPDX-License-Identifier: Apache-2.0
// outside-view: skip fds
#include "tests/target.h"

TARGET() {
  OK(mkdir("directory", 0700));
  OwnedFd fd(OK(open("directory/scratch", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(write(fd, "content", 7));
  OK(unlink("directory/scratch"));
  OK(rmdir("directory"));

  checkpoint_here();

  char text[8] = {};
  EXPECT_EQ(pread(fd, text, 7, 0), 7);
  EXPECT_STR(text, "content");
  EXPECT_ERRNO(access("directory", F_OK), ENOENT);
}
