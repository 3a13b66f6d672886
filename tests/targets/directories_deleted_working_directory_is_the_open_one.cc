// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  OK(mkdir("below", 0711));
  if (geteuid() == 0) OK(chown("below", 1, 2));
  OK(chdir("below"));
  const int listing = OK(open(".", O_RDONLY | O_DIRECTORY));
  OK(rmdir("../below"));

  checkpoint_here();

  struct stat open_one {
  }, working{};
  OK(fstat(listing, &open_one));
  OK(stat(".", &working));
  EXPECT_EQ(open_one.st_ino, working.st_ino);
  EXPECT_EQ(open_one.st_dev, working.st_dev);
  EXPECT_EQ(working.st_nlink, 0u);
  EXPECT_EQ(working.st_mode & 07777, 0711u);
  if (geteuid() == 0) EXPECT_EQ(working.st_uid, 1u);
  if (geteuid() == 0) EXPECT_EQ(working.st_gid, 2u);
}
