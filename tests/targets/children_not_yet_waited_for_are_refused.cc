// SPDX-License-Identifier: Apache-2.0
// expect: refused waited child
#include "tests/target.h"

TARGET() {
  const pid_t child = OK(fork());
  if (child == 0) _exit(42);
  siginfo_t info{};
  OK(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT));

  checkpoint_here();

  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}
