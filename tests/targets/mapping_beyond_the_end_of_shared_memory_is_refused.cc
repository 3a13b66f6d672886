// SPDX-License-Identifier: Apache-2.0
// expect: refused beyond end
#include "tests/target.h"

TARGET() {
  void* const small = OK(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  auto* bytes = static_cast<char*>(OK(mremap(small, 2 * 4096, 4 * 4096, MREMAP_MAYMOVE)));
  bytes[4096] = 'x';

  checkpoint_here();

  EXPECT_EQ(bytes[4096], 'x');
}
