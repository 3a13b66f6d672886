// SPDX-License-Identifier: Apache-2.0
// expect: refused secret
#include "tests/target.h"

TARGET() {
  const long fd = syscall(SYS_memfd_secret, 0);
  if (fd < 0) SKIP("no secret memory: %s", strerror(errno));

  checkpoint_here();

  EXPECT_EQ(fcntl(static_cast<int>(fd), F_GETFD), 0);
}
