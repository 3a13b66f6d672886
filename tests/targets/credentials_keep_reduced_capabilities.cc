// SPDX-License-Identifier: Apache-2.0
// needs: root
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>

#include "tests/target.h"

static unsigned bits(int capability) {
  return 1u << capability;
}

TARGET() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  const unsigned kept =
      bits(CAP_NET_BIND_SERVICE) | bits(CAP_CHOWN) | bits(CAP_SETPCAP) | bits(CAP_DAC_OVERRIDE);
  sets[0] = {
      .effective = kept, .permitted = kept, .inheritable = bits(CAP_NET_BIND_SERVICE) | bits(CAP_SYS_BOOT)};
  OK(syscall(SYS_capset, &header, sets));
  OK(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT));
  OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0));
  OK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_CAP_AMBIENT_RAISE));

  checkpoint_here();

  __user_cap_data_struct now[2]{};
  OK(syscall(SYS_capget, &header, now));
  EXPECT_EQ(now[0].effective, sets[0].effective);
  EXPECT_EQ(now[0].permitted, sets[0].permitted);
  EXPECT_EQ(now[0].inheritable, sets[0].inheritable);
  EXPECT_EQ(now[1].permitted, 0u);
  EXPECT_EQ(prctl(PR_CAPBSET_READ, CAP_SYS_BOOT), 0);
  EXPECT_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
  EXPECT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_BIND_SERVICE, 0, 0), 1);
  EXPECT_EQ(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), 0);
  EXPECT_EQ(prctl(PR_GET_SECUREBITS), SECBIT_NOROOT | SECBIT_NO_CAP_AMBIENT_RAISE);
}
