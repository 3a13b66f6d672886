// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "tests/target.h"

TARGET() {
  int whole[2], closed[2];
  OK(pipe2(whole, O_NONBLOCK));
  OK(pipe(closed));
  EXPECT_EQ(write(whole[1], "hello", 5), 5);
  EXPECT_EQ(write(closed[1], "end", 3), 3);
  OK(close(closed[1]));
  const int shared = dup(whole[0]);

  checkpoint_here();

  char text[16] = {};
  EXPECT_EQ(read(shared, text, 2), 2);
  EXPECT_EQ(read(whole[0], text + 2, sizeof text - 2), 3);
  EXPECT(strcmp(text, "hello") == 0);
  EXPECT_EQ(read(whole[0], text, 1), -1);  // O_NONBLOCK, and the other end is there
  EXPECT_EQ(write(whole[1], "x", 1), 1);
  EXPECT_EQ(read(closed[0], text, sizeof text), 3);
  EXPECT_EQ(read(closed[0], text, sizeof text), 0);  // its writer was gone before
}
