// SPDX-License-Identifier: Apache-2.0
// expect: refused modify_ldt
#include <asm/ldt.h>

#include "tests/target.h"

TARGET() {
  user_desc segment{};
  segment.entry_number = 1;
  segment.limit = 0xfffff;
  segment.seg_32bit = 1;
  segment.limit_in_pages = 1;
  if (syscall(SYS_modify_ldt, 1, &segment, sizeof segment) != 0) SKIP("no modify_ldt(2)");

  checkpoint_here();

  char entry[16];
  EXPECT_EQ(syscall(SYS_modify_ldt, 0, entry, sizeof entry), 16);
}
