// compiler: musl-gcc
// flags: -static
#include "tests/target.h"

static int released;

static void* work(void* argument) {
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
  return argument;
}

TARGET() {
  pthread_t thread;
  char* text = malloc(300000);
  OK0(pthread_create(&thread, NULL, work, text));
  strcpy(text + 290000, "heap");

  checkpoint_here();

  EXPECT_STR(text + 290000, "heap");
  EXPECT_EQ(getpid(), syscall(SYS_getpid));
  __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
  void* answer = NULL;
  OK0(pthread_join(thread, &answer));
  EXPECT(answer == text);
  free(text);
}
