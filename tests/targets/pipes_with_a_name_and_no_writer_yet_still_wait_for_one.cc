// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include "tests/target.h"

TARGET() {
  OK(mkfifo("fifo", 0600));
  OK(mkfifo("left", 0600));
  OwnedFd reader(OK(open("fifo", O_RDONLY | O_NONBLOCK)));
  OwnedFd left(OK(open("left", O_RDONLY | O_NONBLOCK)));
  {
    OwnedFd writer(OK(open("left", O_WRONLY)));
    OK(write(writer, "rest", 4));
  }

  checkpoint_here();

  pollfd ask[2] = {{reader, POLLIN, 0}, {left, POLLIN, 0}};
  EXPECT_EQ(poll(ask, 2, 0), 1);
  EXPECT_EQ(ask[0].revents, 0);  // nobody has written to it, so nobody has hung up
  EXPECT_EQ(ask[1].revents, POLLIN | POLLHUP);
  char text[8] = {};
  EXPECT_EQ(read(left, text, sizeof text), 4);
  EXPECT_STR(text, "rest");
  EXPECT_EQ(read(left, text, sizeof text), 0);
  OwnedFd writer(OK(open("fifo", O_WRONLY)));
  EXPECT_EQ(write(writer, "first", 5), 5);
  EXPECT_EQ(read(reader, text, sizeof text), 5);
}
