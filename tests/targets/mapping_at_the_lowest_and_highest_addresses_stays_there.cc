#include "tests/target.h"

// Where a restorer might want to put something of its own.
TARGET() {
  constexpr uintptr_t highest = 0x7ffffffff000 - 4096;  // the last page of a 47-bit address space
  constexpr uintptr_t lowest = 0x10000;                 // vm.mmap_min_addr, usually
  auto map = [](uintptr_t at) {
    void* got = mmap(reinterpret_cast<void*>(at), 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return got == MAP_FAILED ? nullptr : static_cast<char*>(got);
  };
  char* low = map(lowest);
  char* high = map(highest);
  if (low == nullptr && high == nullptr) SKIP("neither end of the address space can be mapped");
  if (low != nullptr) strcpy(low, "low");
  if (high != nullptr) strcpy(high, "high");

  checkpoint_here();

  if (low != nullptr) EXPECT_STR(low, "low");
  if (high != nullptr) EXPECT_STR(high, "high");
}
