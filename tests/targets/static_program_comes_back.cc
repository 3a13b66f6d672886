// flags: -static
#include "tests/target.h"

TARGET() {
  static bool released;
  TargetThread thread([] {
    int local = 5;
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
    return local + 1;
  });
  auto* text = static_cast<char*>(malloc(100000));
  strcpy(text + 90000, "heap");

  checkpoint_here();

  EXPECT_STR(text + 90000, "heap");
  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  EXPECT_EQ(thread.join(), 6);
  free(text);
}
