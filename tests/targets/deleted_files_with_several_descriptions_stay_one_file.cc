// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  OwnedFd writer(OK(open("scratch", O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0600)));
  OwnedFd reader(OK(open("scratch", O_RDONLY)));
  OwnedFd both(OK(open("scratch", O_RDWR)));
  OK(fchmod(writer, 0));  // no one could open it again by its mode
  OK(unlink("scratch"));
  OK(write(writer, "0123456789", 10));
  OK(lseek(reader, 3, SEEK_SET));

  checkpoint_here();

  EXPECT_EQ(write(writer, "abc", 3), 3);
  char text[16] = {};
  EXPECT_EQ(read(reader, text, sizeof text), 10);
  EXPECT_STR(text, "3456789abc");
  EXPECT_EQ(pwrite(both, "X", 1, 0), 1);
  EXPECT_EQ(pread(reader, text, 1, 0), 1);
  EXPECT_EQ(text[0], 'X');
  EXPECT_ERRNO(write(reader, "x", 1), EBADF);
  struct stat status {};
  OK(fstat(writer, &status));
  EXPECT_EQ(status.st_mode & 07777, 0u);
  EXPECT_EQ(status.st_size, 13);
}
