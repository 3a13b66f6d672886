// flags: -fno-pie -no-pie
#include "tests/target.h"

TARGET() {
  auto* start = static_cast<char*>(OK(sbrk(0)));
  OK(sbrk(1 << 20));
  start[0] = 'a';
  start[(1 << 20) - 1] = 'z';
  auto* end = static_cast<char*>(sbrk(0));

  checkpoint_here();

  EXPECT_EQ(static_cast<char*>(sbrk(0)), end);
  EXPECT_EQ(start[0], 'a');
  EXPECT_EQ(start[(1 << 20) - 1], 'z');
  EXPECT_EQ(start[4096], 0);
  EXPECT_EQ(static_cast<char*>(OK(sbrk(4 << 20))), end);
  end[0] = 'b';
  end[(4 << 20) - 1] = 'y';
  EXPECT_EQ(end[0] + end[(4 << 20) - 1], 'b' + 'y');
  OK(sbrk(-(5 << 20)));
  EXPECT_EQ(static_cast<char*>(sbrk(0)), start);
}
