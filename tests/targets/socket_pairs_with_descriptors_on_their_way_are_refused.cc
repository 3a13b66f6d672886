// SPDX-License-Identifier: Apache-2.0
// expect: refused pair SCM_RIGHTS
#include <sys/socket.h>

#include "tests/target.h"

TARGET() {
  int ends[2];
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  const int file = OK(open("file", O_RDWR | O_CREAT, 0600));
  char byte = 'x';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = "";
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &file, sizeof file);
  OK(sendmsg(ends[0], &message, 0));
  OK(close(file));

  checkpoint_here();

  memset(control, 0, sizeof control);
  EXPECT_EQ(OK(recvmsg(ends[1], &message, 0)), 1);
  int received = -1;
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  EXPECT_GE(OK(fcntl(received, F_GETFD)), 0);
}
