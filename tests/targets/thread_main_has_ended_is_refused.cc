// expect: refused has ended
#include "tests/target.h"

// The leader of the process is a zombie (pthread_exit in main) while another thread works: the harness's
// main() is never returned to, so the thread that is left writes the result.
TARGET() {
  static pthread_t leader = pthread_self();
  OK0(pthread_detach(leader));
  pthread_t worker;
  OK0(pthread_create(
      &worker, nullptr,
      [](void*) -> void* {
        sleep_ms(30);
        checkpoint_here();
        EXPECT_EQ(syscall(SYS_getpid), static_cast<long>(getpid()));
        EXPECT(strstr(read_text("/proc/thread-self/status"), "Threads:\t2") != nullptr);
        target_result(target_failures == 0 ? "PASS 2 checks\n" : "FAIL\n");
        _exit(target_failures == 0 ? 0 : 1);
      },
      nullptr));
  pthread_exit(nullptr);
}
