// SPDX-License-Identifier: Apache-2.0
// needs: user
// expect: refused Permission denied search directories
#include "tests/target.h"

TARGET() {
  OK(mkdir("locked", 0700));
  const OwnedFd file(OK(open("locked/file", O_RDWR | O_CREAT, 0600)));
  OK(mkfifo("locked/pipe", 0600));
  const OwnedFd pipe(OK(open("locked/pipe", O_RDWR)));
  const OwnedFd directory(OK(open("locked", O_RDONLY | O_DIRECTORY)));
  OK(mkdir("locked/inner", 0700));
  const OwnedFd inner(OK(open("locked/inner", O_RDONLY | O_DIRECTORY)));
  OK(chmod("locked", 0));

  checkpoint_here();

  EXPECT_EQ(write(file, "a", 1), 1);
  OK(fchmod(directory, 0700));
  struct stat status {};
  EXPECT_EQ(stat("locked/file", &status), 0);
}
