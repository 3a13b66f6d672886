// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>

#include "tests/target.h"

// MAP_DROPPABLE, since Linux 6.11: a child never sees it, and it cannot be told otherwise.
TARGET() {
  constexpr int droppable = 0x08;
  void* const mapped = mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, droppable | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) SKIP("no MAP_DROPPABLE");
  auto* bytes = static_cast<volatile char*>(mapped);
  bytes[4096] = 'x';

  checkpoint_here();

  EXPECT(bytes[4096] == 'x' || bytes[4096] == 0);
  bytes[0] = 'y';
  EXPECT_EQ(WEXITSTATUS(in_child([&] { return bytes[0] == 0 && bytes[4096] == 0 ? 0 : 1; })), 0);
  EXPECT_ERRNO(madvise(mapped, 4 * 4096, MADV_KEEPONFORK), EINVAL);
}
