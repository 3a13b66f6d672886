// SPDX-License-Identifier: Apache-2.0
// expect: refused fd "has a name elsewhere"
#include "tests/target.h"

TARGET() {
  OwnedFd fd(OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0600)));
  OK(link("file", "other"));
  OK(unlink("file"));

  checkpoint_here();

  EXPECT_EQ(write(fd, "x", 1), 1);
  EXPECT_STR(read_text("other"), "x");
}
