#include "tests/target.h"

TARGET() {
  // mov eax, 42; ret
  const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
  void* memory =
      OK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  memcpy(memory, code, sizeof code);
  int (*answer)() = nullptr;
  memcpy(&answer, &memory, sizeof answer);

  checkpoint_here();

  EXPECT_EQ(answer(), 42);
  static_cast<unsigned char*>(memory)[1] = 43;
  EXPECT_EQ(answer(), 43);
}
