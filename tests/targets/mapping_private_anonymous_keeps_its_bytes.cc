#include "tests/target.h"

TARGET() {
  constexpr size_t size = 3u << 20;
  auto* bytes = static_cast<unsigned char*>(
      OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  for (size_t i = 0; i < size; i += 4096)
    bytes[i + i / 4096 % 4096] = static_cast<unsigned char>(1 + i / 4096 % 255);

  checkpoint_here();

  size_t wrong = 0;
  for (size_t i = 0; i < size; i++) {
    size_t page = i / 4096;
    unsigned char wanted = i % 4096 == page % 4096 ? static_cast<unsigned char>(1 + page % 255) : 0;
    wrong += bytes[i] != wanted;
  }
  EXPECT_EQ(wrong, 0u);
  bytes[0] = 7;
  EXPECT_EQ(bytes[0], 7);
}
