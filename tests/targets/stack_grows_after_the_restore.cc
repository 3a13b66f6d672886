#include "tests/target.h"

// Touches about `frames` pages of stack, one frame each.
__attribute__((noinline)) static int deep(int frames) {
  volatile char page[4096];
  page[0] = static_cast<char>(frames);
  page[4095] = 1;
  return frames == 0 ? 0 : deep(frames - 1) + page[4095];
}

TARGET() {
  volatile char array[3 * 4096];
  memset(const_cast<char*>(array), 's', sizeof array);

  checkpoint_here();

  EXPECT_EQ(array[0], 's');
  EXPECT_EQ(array[sizeof array - 1], 's');
  EXPECT_EQ(deep(1200), 1200);  // 5 MiB of the 8 that are usual
  TargetThread thread([] { return deep(1200); });
  EXPECT_EQ(thread.join(), 1200);
}
