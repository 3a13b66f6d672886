// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include "tests/target.h"

TARGET() {
  OK(mkfifo("fifo", 0600));
  OwnedFd reader(OK(open("fifo", O_RDONLY | O_NONBLOCK)));
  OwnedFd writer(OK(open("fifo", O_WRONLY)));
  OwnedFd other(OK(open("fifo", O_WRONLY | O_NONBLOCK | O_APPEND)));
  OK(fcntl(writer, F_SETPIPE_SZ, 8192));
  OK(write(writer, "one ", 4));
  OK(write(other, "two", 3));

  checkpoint_here();

  char text[32] = {};
  EXPECT_EQ(read(reader, text, sizeof text), 7);
  EXPECT_STR(text, "one two");
  EXPECT_ERRNO(read(reader, text, sizeof text), EAGAIN);
  EXPECT_EQ(fcntl(reader, F_GETPIPE_SZ), 8192);
  EXPECT_EQ(write(other, "three", 5), 5);
  EXPECT_EQ(read(reader, text, sizeof text), 5);
  OK(close(dup(writer)));
  {
    OwnedFd fresh(OK(open("fifo", O_WRONLY | O_NONBLOCK)));  // the path leads to the same pipe
    EXPECT_EQ(write(fresh, "four", 4), 4);
  }
  EXPECT_EQ(read(reader, text, sizeof text), 4);
  pollfd ask{reader, POLLIN, 0};
  EXPECT_EQ(poll(&ask, 1, 0), 0);
}
