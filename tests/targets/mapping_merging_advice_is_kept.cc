#include "tests/target.h"

TARGET() {
  constexpr size_t size = 64 * 4096;
  auto* bytes =
      static_cast<char*>(OK(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  if (madvise(bytes, size, MADV_MERGEABLE) != 0) SKIP("the kernel merges no pages (CONFIG_KSM)");
  memset(bytes, 'm', size);

  checkpoint_here();

  EXPECT_EQ(bytes[size - 1], 'm');
  const char* entry = nullptr;
  char start[32];
  snprintf(start, sizeof start, "\n%lx-", reinterpret_cast<unsigned long>(bytes));
  entry = strstr(read_text("/proc/self/smaps"), start);
  const char* flags = entry == nullptr ? nullptr : strstr(entry, "VmFlags:");
  EXPECT(flags != nullptr && strstr(flags, " mg") != nullptr && strstr(flags, " mg") < strchr(flags, '\n'));
}
