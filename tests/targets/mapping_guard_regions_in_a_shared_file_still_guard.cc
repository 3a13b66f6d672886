// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <signal.h>

#include "tests/target.h"

static sigjmp_buf back;

static bool faults(volatile char* byte) {
  if (sigsetjmp(back, 1) != 0) return true;
  (void)*byte;
  return false;
}

TARGET() {
  constexpr int install = 102;  // MADV_GUARD_INSTALL, of other than private anonymous memory since Linux 6.15
  signal(SIGSEGV, [](int) { siglongjmp(back, 1); });
  const int fd = OK(open("file", O_RDWR | O_CREAT, 0600));
  OK(ftruncate(fd, 4 * 4096));
  auto* bytes = static_cast<char*>(OK(mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
  bytes[0] = 'x';
  if (madvise(bytes + 4096, 4096, install) != 0) SKIP("no guard regions in files");

  checkpoint_here();

  EXPECT(faults(bytes + 4096));
  EXPECT(!faults(bytes + 2 * 4096));
  EXPECT_EQ(bytes[0], 'x');
}
