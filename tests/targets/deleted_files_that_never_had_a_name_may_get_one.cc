// SPDX-License-Identifier: Apache-2.0
// outside-view: skip fds
#include "tests/target.h"

TARGET() {
  const int raw = open(".", O_TMPFILE | O_RDWR, 0640);
  if (raw < 0) SKIP("no O_TMPFILE here: %s", strerror(errno));
  OwnedFd fd(raw);
  OK(write(fd, "content", 7));

  checkpoint_here();

  char entry[64];
  snprintf(entry, sizeof entry, "/proc/self/fd/%d", raw);
  EXPECT_EQ(linkat(AT_FDCWD, entry, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
  EXPECT_STR(read_text("named"), "content");
  struct stat status {};
  OK(stat("named", &status));
  EXPECT_EQ(status.st_mode & 07777, 0640u);
}
