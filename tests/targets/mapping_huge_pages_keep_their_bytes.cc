#include "tests/target.h"

TARGET() {
  constexpr size_t huge = 2u << 20;
  auto* area = static_cast<char*>(
      OK(mmap(nullptr, 4 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  auto* bytes = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(area) + huge - 1) & ~(huge - 1));
  if (madvise(bytes, 2 * huge, MADV_HUGEPAGE) != 0) SKIP("no transparent huge pages: %s", strerror(errno));
  for (size_t i = 0; i < 2 * huge; i += 4096) bytes[i + 5] = static_cast<char>(i >> 12);

  checkpoint_here();

  size_t wrong = 0;
  for (size_t i = 0; i < 2 * huge; i += 4096)
    wrong += bytes[i + 5] != static_cast<char>(i >> 12) || bytes[i] != 0;
  EXPECT_EQ(wrong, 0u);
}
