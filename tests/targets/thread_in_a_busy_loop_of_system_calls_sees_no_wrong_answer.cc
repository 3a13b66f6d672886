#include "tests/target.h"

#include <sched.h>

static bool stop;

// Wherever the freeze falls (in the call, at its entry, at its exit), each answer must be the right one.
static long ask_and_check() {
  pid_t pid = getpid();
  long tid = syscall(SYS_gettid);
  long rounds = 0;
  int fd = open("/dev/null", O_RDWR);
  while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
    if (syscall(SYS_getpid) != pid || syscall(SYS_gettid) != tid) return -1;
    if (write(fd, "abc", 3) != 3) return -2;
    errno = 0;
    if (syscall(SYS_close, -1) != -1 || errno != EBADF) return -3;
    if (sched_yield() != 0) return -4;
    if (syscall(100000) != -1 || errno != ENOSYS) return -5;
    if (lseek(fd, 0, SEEK_SET) != 0) return -6;
    rounds++;
  }
  close(fd);
  return rounds;
}

TARGET() {
  TargetThread one(ask_and_check);
  TargetThread two(ask_and_check);
  TargetThread three(ask_and_check);
  sleep_ms(10);

  checkpoint_here();
  sleep_ms(10);
  checkpoint_here();

  sleep_ms(10);
  __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
  EXPECT_GE(one.join(), 1);
  EXPECT_GE(two.join(), 1);
  EXPECT_GE(three.join(), 1);
}
