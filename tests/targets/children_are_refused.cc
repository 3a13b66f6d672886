// SPDX-License-Identifier: Apache-2.0
// expect: refused child
#include <signal.h>

#include "tests/target.h"

TARGET() {
  const pid_t child = OK(fork());
  if (child == 0) {
    for (;;) pause();
  }

  checkpoint_here();

  OK(kill(child, SIGKILL));
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
}
