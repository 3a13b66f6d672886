// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

TARGET() {
  umask(0137);

  checkpoint_here();

  EXPECT_EQ(umask(0), 0137u);
}
