#include "tests/target.h"

// A thread whose stack pointer is a few bytes above the end of its stack: whatever the engine borrows for its
// own calls, it may not write below it.
static volatile int parked;
static volatile int stop;

static void* park(void*) {
  // 600 bytes of a fresh page remain; below is a guard page. rsp is moved there for the time of the loop.
  auto* area =
      static_cast<char*>(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(area, 4096, PROT_NONE);
  char* low = area + 4096 + 600;
  memset(area + 4096, 'k', 600);
  asm volatile(
      "movq %%rsp, %%r12\n"
      "movq %[low], %%rsp\n"
      "movl $1, %[parked]\n"
      "1: pause\n"
      "cmpl $0, %[stop]\n"
      "je 1b\n"
      "movq %%r12, %%rsp\n"
      : [parked] "+m"(parked), [stop] "+m"(stop)
      : [low] "r"(low)
      : "r12", "memory", "cc");
  return area;
}

TARGET() {
  pthread_t thread;
  OK0(pthread_create(&thread, nullptr, park, nullptr));
  AWAIT(parked == 1);

  checkpoint_here();

  stop = 1;
  void* area = nullptr;
  OK0(pthread_join(thread, &area));
  // The red zone (128 bytes below rsp) belongs to the thread; nothing of it may have changed.
  auto* bytes = static_cast<char*>(area) + 4096;
  int changed = 0;
  for (int i = 600 - 128; i < 600; i++) changed += bytes[i] != 'k';
  EXPECT_EQ(changed, 0);
}
