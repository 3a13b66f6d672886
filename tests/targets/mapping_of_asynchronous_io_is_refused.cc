// SPDX-License-Identifier: Apache-2.0
// expect: refused asynchronous I/O
#include <linux/aio_abi.h>

#include "tests/target.h"

TARGET() {
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, 4, &context) != 0) SKIP("no asynchronous I/O: %s", strerror(errno));

  checkpoint_here();

  EXPECT_EQ(syscall(SYS_io_destroy, context), 0);
}
