// SPDX-License-Identifier: Apache-2.0
// outside-view: skip maps smaps
#include "tests/target.h"

static volatile char* map(int flags, int fd, off_t offset) {
  return static_cast<volatile char*>(OK(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, flags, fd, offset)));
}

TARGET() {
  OwnedFd fd(OK(open("scratch", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(unlink("scratch"));
  for (int page = 0; page < 4; ++page) OK(pwrite(fd, "file", 4, page * 4096));
  volatile char* own = map(MAP_PRIVATE, fd, 0);
  volatile char* shared = map(MAP_SHARED, fd, 8192);
  own[0] = 'O';     // its own page from now on; the second one is the file's
  shared[0] = 'S';  // the file's

  checkpoint_here();

  EXPECT_EQ(own[0], 'O');
  EXPECT_EQ(own[1], 'i');
  EXPECT_EQ(own[4096], 'f');
  char byte = 0;
  EXPECT_EQ(pread(fd, &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'f');
  EXPECT_EQ(pwrite(fd, "N", 1, 4096), 1);
  EXPECT_EQ(own[4096], 'N');
  EXPECT_EQ(pread(fd, &byte, 1, 8192), 1);
  EXPECT_EQ(byte, 'S');
  shared[4096] = 'T';
  EXPECT_EQ(pread(fd, &byte, 1, 12288), 1);
  EXPECT_EQ(byte, 'T');
  struct stat status {};
  OK(fstat(fd, &status));
  EXPECT_EQ(status.st_size, 12292);
}
