// SPDX-License-Identifier: Apache-2.0
#include <sys/file.h>

#include "tests/target.h"

TARGET() {
  OwnedFd holder(OK(open("file", O_RDWR | O_CREAT, 0600))), waiter(OK(open("file", O_RDWR)));
  OK(flock(holder, LOCK_EX));
  int got = -1;
  TargetThread thread([&] { __atomic_store_n(&got, flock(waiter, LOCK_EX), __ATOMIC_SEQ_CST); });

  begin_checkpoint();
  end_checkpoint();

  EXPECT_EQ(__atomic_load_n(&got, __ATOMIC_SEQ_CST), -1);
  OK(flock(holder, LOCK_UN));
  thread.join();
  EXPECT_EQ(got, 0);
  EXPECT_ERRNO(flock(holder, LOCK_SH | LOCK_NB), EWOULDBLOCK);
}
