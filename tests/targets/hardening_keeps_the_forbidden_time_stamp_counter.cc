// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <x86intrin.h>

#include "tests/target.h"

static sigjmp_buf back;
static void on_fault(int) {
  siglongjmp(back, 1);
}

// Whether RDTSC faults. Some virtual machines do not let the kernel forbid it, whatever prctl(2) says.
// Nothing here may ask for the time, which reads the counter as well.
static int faults() {
  if (sigsetjmp(back, 1) != 0) return 1;
  __rdtsc();
  return 0;
}

TARGET() {
  signal(SIGSEGV, on_fault);
  OK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
  const int before = faults();

  checkpoint_here();

  EXPECT_EQ(faults(), before);
  int mode = 0;
  OK(prctl(PR_GET_TSC, &mode));
  EXPECT_EQ(mode, PR_TSC_SIGSEGV);
}
