// SPDX-License-Identifier: Apache-2.0
// expect: refused memory map address space
#include "tests/target.h"

// As a program built with ThreadSanitizer does: shadow memory of tens of terabytes, a little of it in use.
TARGET() {
  constexpr size_t size = size_t{35} << 40;
  char* parts[2];
  for (auto& part : parts) {
    part = static_cast<char*>(
        OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)));
    part[size / 2] = 7;
  }

  checkpoint_here();

  for (auto& part : parts) EXPECT_EQ(part[size / 2], 7);
}
