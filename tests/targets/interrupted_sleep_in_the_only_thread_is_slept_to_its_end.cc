// settle: 0.8
#include "tests/target.h"

// As sleep(3) does it: one struct for both arguments, and no second try.
TARGET() {
  struct timespec rest = {1, 500000000};
  int64_t start = monotonic_ns();

  int result = checkpoint_during([&] { return nanosleep(&rest, &rest); });

  EXPECT_EQ(result, 0);
  EXPECT_GE(monotonic_ns() - start, 1500000000);
}
