#include "tests/target.h"

static long status_kib(const char* field) {
  const char* line = strstr(read_text("/proc/self/status"), field);
  return line == nullptr ? -1 : strtol(line + strlen(field), nullptr, 10);
}

TARGET() {
  constexpr size_t size = 16 * 4096;
  auto* now =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  auto* on_fault =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
  OK(mlock(now, size));
  OK(mlock2(on_fault, size, MLOCK_ONFAULT));
  now[3] = 'l';
  long locked = status_kib("VmLck:");

  checkpoint_here();

  EXPECT_EQ(status_kib("VmLck:"), locked);
  EXPECT_EQ(now[3], 'l');
  OK(munlock(now, size));
  EXPECT_EQ(status_kib("VmLck:"), locked - 64);
}
