// SPDX-License-Identifier: Apache-2.0
// expect: refused thread descriptor table unshare CLONE_FILES
#include <sched.h>

#include <atomic>

#include "tests/target.h"

TARGET() {
  std::atomic<bool> ready = false, over = false;
  TargetThread alone([&] {
    OK(unshare(CLONE_FILES));
    const OwnedFd own(OK(open("/dev/zero", O_RDONLY)));
    ready = true;
    while (!over) sleep_ms(1);
    char byte = 1;
    EXPECT_EQ(read(own, &byte, 1), 1);
  });
  AWAIT(ready);

  checkpoint_here();

  over = true;
  alone.join();
}
