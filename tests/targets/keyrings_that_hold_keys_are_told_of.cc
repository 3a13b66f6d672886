// SPDX-License-Identifier: Apache-2.0
// notes: keyring process session keyrings(7)
// variants: once running
#include <linux/keyctl.h>

#include "tests/target.h"

static long add_key(const char* name, int keyring) {
  return syscall(SYS_add_key, "user", name, "secret", 6, keyring);
}

TARGET() {
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "crs-test") < 0) SKIP("keyctl: %s", strerror(errno));
  OK(add_key("of-the-session", KEY_SPEC_SESSION_KEYRING));
  OK(add_key("of-the-process", KEY_SPEC_PROCESS_KEYRING));

  checkpoint_here();

  EXPECT_NE(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0), -1L);
}
