// SPDX-License-Identifier: Apache-2.0
#include <sys/xattr.h>

#include "tests/access_list.h"
#include "tests/target.h"

TARGET() {
  const int fd = OK(open("scratch", O_RDWR | O_CREAT | O_EXCL, 0640));
  if (fsetxattr(fd, "user.note", "kept", 4, 0) != 0 && errno == EOPNOTSUPP)
    SKIP("this file system keeps no extended attributes");
  const AccessList list = access_list_for(getuid());
  const bool lists = fsetxattr(fd, access_list_name, &list, sizeof list, 0) == 0;
  if (!lists) EXPECT_EQ(errno, EOPNOTSUPP);
  OK(unlink("scratch"));

  checkpoint_here();

  char note[8] = "";
  EXPECT_EQ(fgetxattr(fd, "user.note", note, sizeof note), 4);
  EXPECT_EQ(memcmp(note, "kept", 4), 0);
  if (!lists) return;
  AccessList now = {};
  EXPECT_EQ(fgetxattr(fd, access_list_name, &now, sizeof now), static_cast<ssize_t>(sizeof now));
  EXPECT_EQ(memcmp(&now, &list, sizeof now), 0);
}
