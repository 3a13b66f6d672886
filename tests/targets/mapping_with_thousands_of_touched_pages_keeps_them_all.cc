#include "tests/target.h"

// As many stretches of memory as one answer of the kernel holds (1024), half as many, and many more: every
// 16th, 32nd and second page of 64 MiB is touched.
TARGET() {
  constexpr size_t size = size_t{64} << 20, page = 4096;
  const size_t steps[] = {16, 32, 2};
  char* at[3];
  for (int i = 0; i < 3; ++i) {
    at[i] = (char*)mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(at[i] != MAP_FAILED);
    madvise(at[i], size, MADV_NOHUGEPAGE);
    for (size_t n = 0; n < size / page; n += steps[i]) memcpy(at[i] + n * page + 8, &n, sizeof n);
  }

  checkpoint_here();

  for (int i = 0; i < 3; ++i) {
    for (size_t n = 0; n < size / page; ++n) {
      size_t found;
      memcpy(&found, at[i] + n * page + 8, sizeof found);
      size_t wanted = n % steps[i] == 0 ? n : 0;
      if (found != wanted) EXPECT_EQ(found, wanted);
    }
  }
  EXPECT(at[2][page + 8] == 0);
}
