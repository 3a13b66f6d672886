#include "tests/target.h"

#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

TARGET() {
  void* bytes = OK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, bytes, 4096, "a pool") != 0)
    SKIP("no names for mappings (CONFIG_ANON_VMA_NAME)");

  checkpoint_here();

  EXPECT(strstr(read_text("/proc/self/maps"), "[anon:a pool]") != nullptr);
}
