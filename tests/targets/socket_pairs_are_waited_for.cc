// SPDX-License-Identifier: Apache-2.0
#include <sys/socket.h>

#include "tests/target.h"

static int ends[2];

static void* receive(void*) {
  char byte = 0;
  return recv(ends[1], &byte, 1, 0) == 1 && byte == 'x' ? ends : nullptr;
}

TARGET() {
  OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  pthread_t thread{};
  OK0(pthread_create(&thread, nullptr, receive, nullptr));
  usleep(50000);

  checkpoint_here();

  OK(send(ends[0], "x", 1, 0));
  void* answer = nullptr;
  OK0(pthread_join(thread, &answer));
  EXPECT_EQ(answer, static_cast<void*>(ends));
}
