#include "tests/target.h"

#include <sys/eventfd.h>

TARGET() {
  int counter = OK(eventfd(7, EFD_NONBLOCK));
  int semaphore = OK(eventfd(2, EFD_SEMAPHORE));
  int empty = OK(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  int large = OK(eventfd(0, EFD_NONBLOCK));
  uint64_t highest = UINT64_MAX - 1;
  OK(write(large, &highest, sizeof highest));
  int again = OK(dup(counter));

  checkpoint_here();

  uint64_t value = 0;
  EXPECT_EQ(fcntl(semaphore, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(fcntl(empty, F_GETFD), FD_CLOEXEC);
  OK(read(semaphore, &value, sizeof value));
  EXPECT_EQ(value, 1u);
  OK(read(semaphore, &value, sizeof value));
  EXPECT_EQ(value, 1u);
  OK(read(again, &value, sizeof value));
  EXPECT_EQ(value, 7u);
  EXPECT_EQ(read(counter, &value, sizeof value), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(read(empty, &value, sizeof value), -1);
  OK(read(large, &value, sizeof value));
  EXPECT_EQ(value, highest);
}
