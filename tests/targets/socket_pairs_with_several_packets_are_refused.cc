// SPDX-License-Identifier: Apache-2.0
// expect: refused pair messages receive
#include <sys/socket.h>

#include "tests/target.h"

TARGET() {
  int ends[2];
  OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends));
  OK(send(ends[0], "one", 3, 0));
  OK(send(ends[0], "two", 3, 0));

  checkpoint_here();

  char buffer[10] = "";
  EXPECT_EQ(OK(recv(ends[1], buffer, sizeof buffer, 0)), 3);
  EXPECT_EQ(memcmp(buffer, "one", 3), 0);
  EXPECT_EQ(OK(recv(ends[1], buffer, sizeof buffer, 0)), 3);
  EXPECT_EQ(memcmp(buffer, "two", 3), 0);
}
