// SPDX-License-Identifier: Apache-2.0
// expect: refused "a terminal, but not"
#include <stdlib.h>

#include "tests/target.h"

TARGET() {
  const int master = OK(posix_openpt(O_RDWR | O_NOCTTY));
  OK(grantpt(master));
  OK(unlockpt(master));
  const int slave = OK(open(ptsname(master), O_RDWR | O_NOCTTY));

  checkpoint_here();

  EXPECT_EQ(write(slave, "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(master, &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}
