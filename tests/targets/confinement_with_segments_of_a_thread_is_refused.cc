// SPDX-License-Identifier: Apache-2.0
// expect: refused thread segments set_thread_area
#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>

#include "tests/target.h"

static sigjmp_buf back;
static void on_fault(int) {
  siglongjmp(back, 1);
}

// 64-bit programs reach these calls through the 32-bit door alone, which takes addresses below 4 GiB.
static int call_32_bit(int number, user_desc* segment) {
  int result = number;
  asm volatile("int $0x80"
               : "+a"(result)
               : "b"(static_cast<unsigned>(reinterpret_cast<uintptr_t>(segment)))
               : "memory", "r8", "r9", "r10", "r11");
  return result;
}

TARGET() {
  constexpr int set_thread_area = 243, get_thread_area = 244, entry = 12;
  auto* segment = static_cast<user_desc*>(
      OK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0)));
  segment->entry_number = entry;
  segment->base_addr = 0x12340000;
  segment->limit = 0xfffff;
  segment->seg_32bit = 1;
  segment->limit_in_pages = 1;
  segment->useable = 1;
  signal(SIGSEGV, on_fault);  // where the door is closed (ia32_emulation=0)
  if (sigsetjmp(back, 1) != 0 || call_32_bit(set_thread_area, segment) != 0) SKIP("no 32-bit system calls");
  signal(SIGSEGV, SIG_DFL);

  checkpoint_here();

  segment->base_addr = 0;
  EXPECT_EQ(call_32_bit(get_thread_area, segment), 0);
  EXPECT_EQ(segment->base_addr, 0x12340000u);
}
