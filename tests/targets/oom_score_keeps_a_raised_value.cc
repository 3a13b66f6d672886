// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  const int fd = OK(open("/proc/self/oom_score_adj", O_WRONLY));
  OK(write(fd, "321", 3));
  close(fd);

  checkpoint_here();

  EXPECT_STR(read_text("/proc/self/oom_score_adj"), "321\n");
}
