#include "tests/target.h"

TARGET() {
  constexpr size_t size = 64 * 4096;
  auto* bytes =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  memset(bytes, 'x', size);
  OK(madvise(bytes + 8 * 4096, 16 * 4096, MADV_DONTNEED));
  auto* shared =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
  memset(shared, 'y', size);
  OK(madvise(shared + 8 * 4096, 16 * 4096, MADV_REMOVE));

  checkpoint_here();

  size_t wrong = 0;
  for (size_t i = 0; i < size; i++) {
    bool hole = i / 4096 >= 8 && i / 4096 < 24;
    wrong += bytes[i] != (hole ? 0 : 'x') || shared[i] != (hole ? 0 : 'y');
  }
  EXPECT_EQ(wrong, 0u);
}
