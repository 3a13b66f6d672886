// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

#include <sys/file.h>

TARGET() {
  int fd = OK(open("data", O_RDWR | O_CREAT, 0600));
  OK(ftruncate(fd, 4096));
  auto* words = static_cast<uint64_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  words[3] = 7;
  OK(flock(fd, LOCK_EX));
  OK(close(fd));

  checkpoint_here();

  EXPECT_EQ(words[3], 7u);
  fd = OK(open("data", O_RDWR));
  EXPECT_EQ(flock(fd, LOCK_EX | LOCK_NB), -1);
  EXPECT_EQ(errno, EWOULDBLOCK);
  OK(munmap(words, 4096));
  OK(flock(fd, LOCK_EX | LOCK_NB));
}
