// SPDX-License-Identifier: Apache-2.0
// expect: refused guard
#include "tests/target.h"

TARGET() {
  constexpr int install = 102;  // MADV_GUARD_INSTALL, of other than private anonymous memory since Linux 6.15
  auto* bytes = static_cast<char*>(
      OK(mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
  bytes[0] = 'x';
  if (madvise(bytes + 4096, 4096, install) != 0) SKIP("no guard regions in shared memory");

  checkpoint_here();

  EXPECT_EQ(bytes[0], 'x');
}
