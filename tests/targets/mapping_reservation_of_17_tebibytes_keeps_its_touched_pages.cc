#include "tests/target.h"

// 1 TiB that nobody may touch, and 16 TiB of which 64 pages are in use.
TARGET() {
  constexpr size_t tib = size_t{1} << 40;
  void* none = OK(mmap(nullptr, tib, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  auto* bytes = static_cast<char*>(OK(
      mmap(nullptr, 16 * tib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)));
  constexpr size_t step = 16 * tib / 64;
  for (size_t i = 0; i < 64; i++) bytes[i * step + i * 4096] = static_cast<char>(i + 1);

  checkpoint_here();

  for (size_t i = 0; i < 64; i++) EXPECT_EQ(bytes[i * step + i * 4096], static_cast<char>(i + 1));
  EXPECT_EQ(bytes[step / 2], 0);
  bytes[16 * tib - 1] = 9;
  EXPECT_EQ(bytes[16 * tib - 1], 9);
  OK(mprotect(none, 4096, PROT_READ | PROT_WRITE));
  EXPECT_EQ(*static_cast<char*>(none), 0);
}
