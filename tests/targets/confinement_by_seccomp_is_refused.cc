// SPDX-License-Identifier: Apache-2.0
// expect: refused seccomp
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "tests/target.h"

TARGET() {
  sock_filter allow[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
  const sock_fprog program{1, allow};
  OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));

  checkpoint_here();

  EXPECT_EQ(prctl(PR_GET_SECCOMP), 2);
}
