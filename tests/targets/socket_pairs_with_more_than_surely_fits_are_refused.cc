// SPDX-License-Identifier: Apache-2.0
// expect: refused pair put back
#include <sys/socket.h>

#include "tests/target.h"

TARGET() {
  int ends[2];
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  static char block[50000];
  OK(send(ends[0], block, sizeof block, 0));

  checkpoint_here();

  EXPECT_EQ(OK(recv(ends[1], block, sizeof block, MSG_WAITALL)), 50000);
}
