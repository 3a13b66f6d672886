// SPDX-License-Identifier: Apache-2.0
// expect: refused pair option filter
#include <linux/filter.h>
#include <sys/socket.h>

#include "tests/target.h"

TARGET() {
  int ends[2];
  OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
  sock_filter nothing{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog filter{1, &nothing};
  OK(setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter));

  checkpoint_here();

  char byte = 0;
  (void)send(ends[0], "x", 1, MSG_DONTWAIT);
  EXPECT_ERRNO(recv(ends[1], &byte, 1, MSG_DONTWAIT), EAGAIN);
}
