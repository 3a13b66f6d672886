// SPDX-License-Identifier: Apache-2.0
// outside-view: skip maps smaps
#include "tests/target.h"

TARGET() {
  char name[64];
  snprintf(name, sizeof name, "/crs-test-%d", getpid());
  int fd = OK(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600));
  OK(shm_unlink(name));
  OK(ftruncate(fd, 16384));
  auto* one =
      static_cast<volatile char*>(OK(mmap(nullptr, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
  auto* other = static_cast<volatile char*>(OK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 8192)));
  close(fd);
  one[0] = 'a';
  one[8192] = 'b';

  checkpoint_here();

  EXPECT_EQ(one[0], 'a');
  EXPECT_EQ(one[16383], 0);
  EXPECT_EQ(other[0], 'b');
  one[8193] = 'c';
  EXPECT_EQ(other[1], 'c');
}
