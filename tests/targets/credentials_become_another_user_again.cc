// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

#include "tests/target.h"

TARGET() {
  OK(chmod(".", 0777));
  const gid_t groups[] = {4001, 4000, 5000};
  OK(setgroups(3, groups));
  OK(setresgid(3001, 3002, 3003));
  OK(setresuid(2001, 2002, 2003));
  setfsuid(2003);
  OK(prctl(PR_SET_DUMPABLE, 1));

  checkpoint_here();

  uid_t uid[3]{};
  gid_t gid[3]{}, now[8]{};
  OK(getresuid(&uid[0], &uid[1], &uid[2]));
  OK(getresgid(&gid[0], &gid[1], &gid[2]));
  EXPECT_EQ(uid[0], 2001u);
  EXPECT_EQ(uid[1], 2002u);
  EXPECT_EQ(uid[2], 2003u);
  EXPECT_EQ(gid[0], 3001u);
  EXPECT_EQ(gid[1], 3002u);
  EXPECT_EQ(gid[2], 3003u);
  EXPECT_EQ(getgroups(8, now), 3);
  EXPECT_EQ(prctl(PR_GET_DUMPABLE), 1);
  EXPECT_EQ(setfsuid(static_cast<uid_t>(-1)), 2003);
  EXPECT_ERRNO(setuid(0), EPERM);
  EXPECT_EQ(strstr(read_text("/proc/self/status"), "CapEff:\t0000000000000000") != nullptr, true);
  EXPECT_EQ(prctl(PR_GET_SECUREBITS), 0);
}
