// SPDX-License-Identifier: Apache-2.0
// expect: refused pair option
#include <sys/socket.h>

#include "tests/target.h"

TARGET() {
  int ends[2], offset = 2;
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  OK(send(ends[0], "0123456789", 10, 0));
  OK(setsockopt(ends[1], SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset));

  checkpoint_here();

  socklen_t size = sizeof offset;
  OK(getsockopt(ends[1], SOL_SOCKET, SO_PEEK_OFF, &offset, &size));
  EXPECT_EQ(offset, 2);
}
