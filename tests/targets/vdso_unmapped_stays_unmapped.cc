// flags: -static
#include "tests/target.h"

// Asks for the time by system calls alone, as a program without a vdso must.
static long monotonic_seconds() {
  struct timespec now = {};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

TARGET() {
  const char* maps = read_text("/proc/self/maps");
  while (maps != nullptr && *maps != 0) {
    unsigned long start = 0;
    unsigned long end = 0;
    const char* newline = strchr(maps, '\n');
    const char* name = strstr(maps, "[v");
    if (name != nullptr && name < newline && strstr(maps, "[vsyscall]") != name) {
      sscanf(maps, "%lx-%lx", &start, &end);
      OK(syscall(SYS_munmap, start, end - start));
    }
    maps = newline + 1;
  }

  checkpoint_here();

  EXPECT(strstr(read_text("/proc/self/maps"), "[vdso]") == nullptr);
  EXPECT_GE(monotonic_seconds(), 0);
}
