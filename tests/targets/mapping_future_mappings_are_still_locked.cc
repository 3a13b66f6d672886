#include "tests/target.h"

#include <sys/resource.h>

static long locked_kib() {
  const char* line = strstr(read_text("/proc/self/status"), "VmLck:");
  return line == nullptr ? -1 : strtol(line + 6, nullptr, 10);
}

TARGET() {
  if (mlockall(MCL_FUTURE | MCL_ONFAULT) != 0) SKIP("mlockall: %s", strerror(errno));
  OK(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  long before = locked_kib();

  checkpoint_here();

  EXPECT_EQ(locked_kib(), before);
  OK(mmap(nullptr, 16 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT_EQ(locked_kib(), before + 64);
}
