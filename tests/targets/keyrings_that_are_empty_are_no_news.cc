// SPDX-License-Identifier: Apache-2.0
// notes: !keyring
#include <linux/keyctl.h>

#include "tests/target.h"

TARGET() {
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "crs-empty") < 0) SKIP("keyctl: %s", strerror(errno));
  OK(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));

  checkpoint_here();

  EXPECT_NE(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0), -1L);
}
