// settle: 1.2
#include "tests/target.h"

// Of 2 seconds 1.2 are over at the checkpoint: 0.8 are left, not 2.
TARGET() {
  struct timespec rest = {2, 0};
  int64_t since_go = 0;

  int result = checkpoint_during([&] {
    int value = nanosleep(&rest, &rest);
    since_go = ms_since_go();
    return value;
  });

  EXPECT_EQ(result, 0);
  EXPECT_LE(since_go, 1500);
}
