// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  OK(symlink("somewhere\xff", "link"));
  const int handle = OK(open("link", O_PATH | O_NOFOLLOW));
  OK(unlink("link"));

  checkpoint_here();

  char text[64] = {};
  OK(readlinkat(handle, "", text, sizeof text - 1));
  EXPECT_STR(text, "somewhere\xff");
  struct stat status {};
  OK(fstat(handle, &status));
  EXPECT(S_ISLNK(status.st_mode));
  EXPECT_EQ(status.st_nlink, 0u);
  EXPECT_ERRNO(readlink("link", text, sizeof text), ENOENT);
}
