// SPDX-License-Identifier: Apache-2.0
#include <sys/xattr.h>

#include "tests/access_list.h"
#include "tests/target.h"

// It names a user whom only root can name again.
TARGET() {
  const int fd = OK(open("scratch", O_RDWR | O_CREAT | O_EXCL, 0640));
  const AccessList list = access_list_for(12345);
  if (fsetxattr(fd, access_list_name, &list, sizeof list, 0) != 0 && errno == EOPNOTSUPP)
    SKIP("this file system keeps no access lists");
  OK(unlink("scratch"));

  checkpoint_here();

  AccessList now = {};
  struct stat status = {};
  OK(fstat(fd, &status));
  if (fgetxattr(fd, access_list_name, &now, sizeof now) > 0) {
    EXPECT_EQ(memcmp(&now, &list, sizeof now), 0);
    EXPECT_EQ(status.st_mode & 0777, 0640u);
  } else {
    EXPECT_NE(geteuid(), 0u);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
}
