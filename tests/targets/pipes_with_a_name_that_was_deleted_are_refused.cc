// SPDX-License-Identifier: Apache-2.0
// expect: refused fifo deleted
#include "tests/target.h"

TARGET() {
  OK(mkfifo("fifo", 0600));
  OwnedFd both(OK(open("fifo", O_RDWR)));
  OK(unlink("fifo"));

  checkpoint_here();

  EXPECT_EQ(write(both, "z", 1), 1);
}
