#include "tests/target.h"

TARGET() {
  constexpr size_t size = 8 * 4096;
  auto* first =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
  // An old size of 0 duplicates a shared mapping: mremap(2), "if the value of old_size is zero".
  auto* second = static_cast<char*>(OK(mremap(first, 0, size, MREMAP_MAYMOVE)));
  auto* other =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
  strcpy(first + 4096, "one memory");
  strcpy(other + 4096, "another");

  checkpoint_here();

  EXPECT_STR(second + 4096, "one memory");
  EXPECT_STR(other + 4096, "another");
  second[0] = 'w';
  EXPECT_EQ(first[0], 'w');
  EXPECT_EQ(other[0], 0);
  int status = in_child([&] {
    first[1] = 'c';
    return 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(second[1], 'c');  // still shared with children
}
