// SPDX-License-Identifier: Apache-2.0
// needs: root
// expect: refused thread namespaces uts ipc
#include <sched.h>

#include <atomic>

#include "tests/target.h"

TARGET() {
  std::atomic<bool> ready = false, over = false;
  TargetThread alone([&] {
    if (unshare(CLONE_NEWUTS | CLONE_NEWIPC) != 0) SKIP("unshare: %s", strerror(errno));
    OK(sethostname("elsewhere", 9));
    ready = true;
    while (!over) sleep_ms(1);
    char name[64];
    OK(gethostname(name, sizeof name));
    EXPECT_STR(name, "elsewhere");
  });
  AWAIT(ready);

  checkpoint_here();

  over = true;
  alone.join();
}
