// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  OK(mkdir("a b", 0755));
  OK(mkdir("a b/below", 0755));
  OK(chdir("a b/below"));

  checkpoint_here();

  char path[4096], wanted[4096];
  OK(getcwd(path, sizeof path) == nullptr ? -1 : 0);
  snprintf(wanted, sizeof wanted, "%s/a b/below", target_dir);
  EXPECT_STR(path, wanted);
  EXPECT_EQ(access("../../a b", F_OK), 0);
}
