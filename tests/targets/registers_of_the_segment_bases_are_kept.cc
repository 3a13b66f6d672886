#include "tests/target.h"

#include <asm/prctl.h>

TARGET() {
  static char area[4096];
  strcpy(area + 64, "by gs");
  OK(syscall(SYS_arch_prctl, ARCH_SET_GS, area));

  checkpoint_here();

  unsigned long gs = 0;
  OK(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs));
  EXPECT_EQ(gs, reinterpret_cast<unsigned long>(area));
  char byte = 0;
  asm volatile("movb %%gs:64, %0" : "=r"(byte));
  EXPECT_EQ(byte, 'b');
}
