// timeout: 60
// variants: once running
#include "tests/target.h"

TARGET() {
  constexpr size_t count = 60000;
  auto* bytes = static_cast<char*>(
      OK(mmap(nullptr, count * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  for (size_t i = 0; i < count; i++) *reinterpret_cast<size_t*>(bytes + i * 4096) = i * 2654435761u + 1;
  for (size_t i = 1; i < count; i += 2) {
    if (mprotect(bytes + i * 4096, 4096, PROT_READ) != 0)
      SKIP("%zu mappings are allowed (vm.max_map_count)", i);
  }

  checkpoint_here();

  size_t wrong = 0;
  for (size_t i = 0; i < count; i++)
    wrong += *reinterpret_cast<size_t*>(bytes + i * 4096) != i * 2654435761u + 1;
  EXPECT_EQ(wrong, 0u);
}
