// SPDX-License-Identifier: Apache-2.0
// outside-view: skip fds
#include "tests/target.h"

TARGET() {
  OwnedFd old(OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(write(old, "old", 3));
  OK(unlink("file"));
  OwnedFd fresh(OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(write(fresh, "new", 3));

  checkpoint_here();

  char text[4] = {};
  EXPECT_EQ(pread(old, text, 3, 0), 3);
  EXPECT_STR(text, "old");
  EXPECT_EQ(pread(fresh, text, 3, 0), 3);
  EXPECT_STR(text, "new");
  EXPECT_STR(read_text("file"), "new");
}
