// SPDX-License-Identifier: Apache-2.0
// expect: refused pair other end closed
#include <sys/socket.h>

#include "tests/target.h"

TARGET() {
  int ends[2];
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  OK(write(ends[0], "x", 1));
  OK(close(ends[0]));

  checkpoint_here();

  char byte = 0;
  EXPECT_EQ(OK(recv(ends[1], &byte, 1, 0)), 1);
  EXPECT_EQ(OK(recv(ends[1], &byte, 1, 0)), 0);
}
