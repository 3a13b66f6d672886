// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  const int error = OK(fcntl(2, F_DUPFD, 10));
  close(0);
  close(1);
  close(2);

  checkpoint_here();

  int open_ones = 0;
  for (int fd = 0; fd < 3; ++fd) open_ones += fcntl(fd, F_GETFD) != -1;
  const int lowest = open("/dev/null", O_RDWR);
  close(lowest);
  dup2(error, 2);  // where failures are told
  EXPECT_EQ(open_ones, 0);
  EXPECT_EQ(lowest, 0);
}
