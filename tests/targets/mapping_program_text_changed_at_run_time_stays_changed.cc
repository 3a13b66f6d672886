#include "tests/target.h"

// Patched below: what a debugger's breakpoint or a tracer's hook does to program text.
__attribute__((noinline, aligned(4096))) static int answer() {
  int value;
  asm volatile("movl $42, %0" : "=r"(value));
  return value;
}

TARGET() {
  auto* text = reinterpret_cast<unsigned char*>(&answer);
  size_t at = 0;
  while (at < 64 && memcmp(text + at, "\x2a\0\0\0", 4) != 0) at++;
  if (at == 64) FATAL("no immediate 42 in the function");
  OK(mprotect(text, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
  text[at] = 43;
  OK(mprotect(text, 4096, PROT_READ | PROT_EXEC));

  checkpoint_here();

  EXPECT_EQ(answer(), 43);
}
