// SPDX-License-Identifier: Apache-2.0
// expect: refused thread working directory unshare CLONE_FS
#include <sched.h>

#include <atomic>

#include "tests/target.h"

TARGET() {
  std::atomic<bool> ready = false, over = false;
  TargetThread alone([&] {
    OK(unshare(CLONE_FS));
    OK(chdir("/"));
    ready = true;
    while (!over) sleep_ms(1);
    char name[8];
    EXPECT_STR(OK(getcwd(name, sizeof name)) ? name : "", "/");
  });
  AWAIT(ready);

  checkpoint_here();

  over = true;
  alone.join();
}
