// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "tests/target.h"

TARGET() {
  int ended[2], broken[2];
  OK(pipe(ended));
  OK(pipe(broken));
  OK(write(ended[1], "last", 4));
  OK(close(ended[1]));
  OK(close(broken[0]));
  signal(SIGPIPE, SIG_IGN);

  checkpoint_here();

  char text[8] = {};
  EXPECT_EQ(read(ended[0], text, sizeof text), 4);
  EXPECT_STR(text, "last");
  EXPECT_EQ(read(ended[0], text, sizeof text), 0);
  EXPECT_ERRNO(write(broken[1], "x", 1), EPIPE);
}
