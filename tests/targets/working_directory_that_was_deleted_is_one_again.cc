// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  OK(mkdir("below", 0755));
  OK(chmod("below", 0711));
  OK(chdir("below"));
  OK(rmdir("../below"));

  checkpoint_here();

  char path[4096];
  EXPECT_ERRNO(getcwd(path, sizeof path) == nullptr ? -1 : 0, ENOENT);
  EXPECT_ERRNO(open("file", O_WRONLY | O_CREAT, 0600), ENOENT);
  struct stat status {};
  OK(stat(".", &status));
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_EQ(status.st_mode & 07777u, 0711u);
  EXPECT_EQ(access(target_dir, F_OK), 0);
  OK(chdir(target_dir));
  EXPECT_ERRNO(access("below", F_OK), ENOENT);  // nothing was left where it had been
}
