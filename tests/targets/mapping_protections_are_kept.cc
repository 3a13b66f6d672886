#include <setjmp.h>
#include <signal.h>
#include "tests/target.h"

static sigjmp_buf back;
static void on_fault(int) {
  siglongjmp(back, 1);
}

// Whether touching the byte raises SIGSEGV.
static bool faults(volatile char* byte, bool write) {
  if (sigsetjmp(back, 1) != 0) return true;
  if (write) {
    *byte = 1;
  } else {
    (void)*byte;
  }
  return false;
}

TARGET() {
  signal(SIGSEGV, on_fault);
  auto* bytes = static_cast<char*>(
      OK(mmap(nullptr, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  for (int page = 0; page < 5; page++) bytes[page * 4096] = static_cast<char>('0' + page);
  OK(mprotect(bytes, 4096, PROT_NONE));  // a guard that hides content
  OK(mprotect(bytes + 2 * 4096, 4096, PROT_READ));
  OK(mprotect(bytes + 4 * 4096, 4096, PROT_NONE));

  checkpoint_here();

  EXPECT(faults(bytes, false));
  EXPECT(faults(bytes + 4 * 4096, true));
  EXPECT(!faults(bytes + 2 * 4096, false));
  EXPECT(faults(bytes + 2 * 4096, true));
  EXPECT(!faults(bytes + 4096, true));
  OK(mprotect(bytes, 5 * 4096, PROT_READ));
  EXPECT_EQ(bytes[0], '0');
  EXPECT_EQ(bytes[2 * 4096], '2');
  EXPECT_EQ(bytes[4 * 4096], '4');
}
