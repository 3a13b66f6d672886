#include "tests/target.h"

// rsp holds a number, as in code that uses it as one more register (some interpreters and crypto kernels do).
static volatile int parked;
static volatile int stop;
static unsigned long kept;

static void* park(void*) {
  asm volatile(
      "movq %%rsp, %%r12\n"
      "movq $0x1234567, %%rsp\n"
      "movl $1, %[parked]\n"
      "1: pause\n"
      "cmpl $0, %[stop]\n"
      "je 1b\n"
      "movq %%rsp, %[kept]\n"
      "movq %%r12, %%rsp\n"
      : [parked] "+m"(parked), [stop] "+m"(stop), [kept] "=m"(kept)
      :
      : "r12", "memory", "cc");
  return nullptr;
}

TARGET() {
  // Signals must not reach that thread: there is no room for a frame.
  pthread_t thread;
  OK0(pthread_create(&thread, nullptr, park, nullptr));
  AWAIT(parked == 1);

  checkpoint_here();

  stop = 1;
  OK0(pthread_join(thread, nullptr));
  EXPECT_EQ(kept, 0x1234567ul);
}
