#include "tests/target.h"

// MADV_PAGEOUT sends pages to swap where there is one, and drops clean file pages.
TARGET() {
  constexpr size_t size = 256 * 4096;
  auto* bytes =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  for (size_t i = 0; i < size; i += 64) bytes[i] = static_cast<char>(i >> 6);
  madvise(bytes, size, MADV_PAGEOUT);

  checkpoint_here();

  size_t wrong = 0;
  for (size_t i = 0; i < size; i += 64) wrong += bytes[i] != static_cast<char>(i >> 6);
  EXPECT_EQ(wrong, 0u);
}
