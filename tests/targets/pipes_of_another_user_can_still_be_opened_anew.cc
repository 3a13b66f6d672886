// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <string>

#include "tests/target.h"

// What shells do with /dev/fd/N, in a program that root saves and restarts for somebody else.
TARGET() {
  OK(chmod(".", 0777));
  OK(setresgid(3001, 3001, 3001));
  OK(setresuid(2001, 2001, 2001));
  int ends[2];
  OK(pipe(ends));
  EXPECT_EQ(write(ends[1], "x", 1), 1);

  checkpoint_here();

  struct stat status {};
  OK(fstat(ends[0], &status));
  EXPECT_EQ(status.st_uid, 2001u);
  EXPECT_EQ(status.st_gid, 3001u);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  const int again = OK(open(("/proc/self/fd/" + std::to_string(ends[0])).c_str(), O_RDONLY));
  char byte = 0;
  EXPECT_EQ(read(again, &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}
