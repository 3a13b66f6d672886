// SPDX-License-Identifier: Apache-2.0
// expect: refused signal ready
#include <signal.h>

#include "tests/target.h"

TARGET() {
  int ends[2];
  OK(pipe(ends));
  OK(fcntl(ends[0], F_SETOWN, getpid()));
  OK(fcntl(ends[0], F_SETSIG, SIGRTMIN));

  checkpoint_here();

  EXPECT_EQ(fcntl(ends[0], F_GETOWN), getpid());
  EXPECT_EQ(fcntl(ends[0], F_GETSIG), SIGRTMIN);
}
