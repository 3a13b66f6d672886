// SPDX-License-Identifier: Apache-2.0
// expect: refused Landlock
#include <linux/landlock.h>
#include <sys/prctl.h>

#include "tests/target.h"

TARGET() {
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK;  // nothing that this program does
  const long ruleset = syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
  if (ruleset < 0) SKIP("no Landlock: %s", strerror(errno));
  OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  OK(syscall(SYS_landlock_restrict_self, ruleset, 0));
  OK(close(static_cast<int>(ruleset)));

  checkpoint_here();

  EXPECT_EQ(access(target_dir, F_OK), 0);
}
