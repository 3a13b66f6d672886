// SPDX-License-Identifier: Apache-2.0
// expect: refused fd "holds a lease"
#include "tests/target.h"

TARGET() {
  OwnedFd fd(OK(open("file", O_RDONLY | O_CREAT, 0600)));
  if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) SKIP("no leases in this file system: %s", strerror(errno));

  checkpoint_here();

  EXPECT_EQ(fcntl(fd, F_GETLEASE), F_RDLCK);
}
