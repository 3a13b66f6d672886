// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  OK(mkfifo("fifo", 0600));
  OwnedFd both(OK(open("fifo", O_RDWR)));
  OwnedFd copy(OK(dup(both)));
  static char content[50000];
  memset(content, 'x', sizeof content);
  content[49999] = 'y';
  EXPECT_EQ(write(both, content, sizeof content), 50000);

  checkpoint_here();

  static char back[60000];
  EXPECT_EQ(read(copy, back, sizeof back), 50000);
  EXPECT(memcmp(back, content, sizeof content) == 0);
  EXPECT_EQ(write(both, "z", 1), 1);
  EXPECT_EQ(read(copy, back, sizeof back), 1);
}
