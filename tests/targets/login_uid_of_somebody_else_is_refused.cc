// SPDX-License-Identifier: Apache-2.0
// needs: user
// expect: refused login uid
#include "tests/target.h"

TARGET() {
  const int fd = open("/proc/self/loginuid", O_WRONLY);
  if (fd < 0) SKIP("a kernel without audit");
  if (write(fd, "3", 1) < 0) SKIP("the login uid cannot be set: %s", strerror(errno));
  close(fd);

  checkpoint_here();

  EXPECT_STR(read_text("/proc/self/loginuid"), "3");
}
