#include "tests/target.h"

#include <setjmp.h>
#include <signal.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // since Linux 6.13
#endif

static sigjmp_buf back;
static void on_fault(int) {
  siglongjmp(back, 1);
}

static bool faults(volatile char* byte) {
  if (sigsetjmp(back, 1) != 0) return true;
  (void)*byte;
  return false;
}

TARGET() {
  signal(SIGSEGV, on_fault);
  auto* bytes = static_cast<char*>(
      OK(mmap(nullptr, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  memset(bytes, 'a', 5 * 4096);
  if (madvise(bytes + 2 * 4096, 4096, MADV_GUARD_INSTALL) != 0) SKIP("no guard regions (MADV_GUARD_INSTALL)");

  checkpoint_here();

  EXPECT(faults(bytes + 2 * 4096));
  EXPECT(!faults(bytes + 4096));
  EXPECT_EQ(bytes[3 * 4096], 'a');
}
