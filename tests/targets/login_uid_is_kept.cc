// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  const int fd = open("/proc/self/loginuid", O_WRONLY);
  if (fd < 0) SKIP("a kernel without audit");
  char uid[16];
  snprintf(uid, sizeof uid, "%u", getuid());
  if (write(fd, uid, strlen(uid)) < 0) SKIP("the login uid cannot be set: %s", strerror(errno));
  close(fd);

  checkpoint_here();

  EXPECT_STR(read_text("/proc/self/loginuid"), uid);
}
