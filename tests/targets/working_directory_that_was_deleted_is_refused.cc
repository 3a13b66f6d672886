// SPDX-License-Identifier: Apache-2.0
// expect: refused working directory deleted
#include "tests/target.h"

TARGET() {
  OK(mkdir("below", 0755));
  OK(chdir("below"));
  OK(rmdir("../below"));

  checkpoint_here();

  EXPECT_EQ(chdir(target_dir), 0);
}
