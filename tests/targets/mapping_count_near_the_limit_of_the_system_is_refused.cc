// SPDX-License-Identifier: Apache-2.0
// expect: refused mappings vm.max_map_count sysctl
// timeout: 60
#include "tests/target.h"

TARGET() {
  constexpr size_t count = 70000;
  auto* bytes = static_cast<char*>(OK(mmap(nullptr, count * 4096, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)));
  size_t parts = 1;
  while (parts < count && mprotect(bytes + parts * 4096, 4096, PROT_READ) == 0) parts += 2;
  if (parts >= count) SKIP("%zu mappings are allowed (vm.max_map_count)", parts);

  checkpoint_here();

  bytes[4096 * 2] = 1;
  EXPECT_EQ(bytes[4096 * 2], 1);
}
