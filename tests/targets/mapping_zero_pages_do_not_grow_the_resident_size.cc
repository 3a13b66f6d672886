#include "tests/target.h"

static long resident_kib() {
  const char* line = strstr(read_text("/proc/self/status"), "RssAnon:");
  return line == nullptr ? -1 : strtol(line + 8, nullptr, 10);
}

TARGET() {
  constexpr size_t size = 64u << 20;
  auto* zeros =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  OK(madvise(zeros, size, MADV_NOHUGEPAGE));
  memset(zeros, 0, size);
  auto* untouched =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  OK(madvise(untouched, size, MADV_NOHUGEPAGE));
  long before = resident_kib();

  checkpoint_here();

  EXPECT_LE(resident_kib(), before + 2048);
  size_t sum = 0;
  for (size_t i = 0; i < size; i += 512)
    sum += static_cast<unsigned char>(zeros[i]) + static_cast<unsigned char>(untouched[i]);
  EXPECT_EQ(sum, 0u);
}
