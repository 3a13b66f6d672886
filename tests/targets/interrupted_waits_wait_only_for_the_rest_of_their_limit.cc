// settle: 1.5
#include "tests/targets/timed_waits.h"

// Each waits for something that never happens, for 3 seconds. 1.5 of them are over at the checkpoint: what is
// left is 1.5 seconds, not 3, and the program's own limit has not changed.

// Registers other than rax, rcx and r11 are the compiler's: it may look at them after the call.
static bool wait_poll_looking_at_registers() {
  struct pollfd one = {silent_fd(), POLLIN, 0};
  long result = SYS_poll;
  struct pollfd* fds = &one;
  long count = 1;
  long limit = limit_s * 1000;
  asm volatile("syscall" : "+a"(result), "+D"(fds), "+S"(count), "+d"(limit) : : "rcx", "r11", "memory");
  return result == 0 && fds == &one && count == 1 && limit == limit_s * 1000;
}
static bool wait_nanosleep_looking_at_registers() {
  struct timespec rest = {77, 77};
  long result = SYS_nanosleep;
  const struct timespec* asked = &limit_spec;
  struct timespec* rest_at = &rest;
  asm volatile("syscall" : "+a"(result), "+D"(asked), "+S"(rest_at) : : "rcx", "r11", "memory");
  return result == 0 && asked == &limit_spec && rest_at == &rest;
}

TARGET() {
  silent_fd();
  static TimedWait waits[] = {{"nanosleep(t, NULL)", wait_nanosleep},
                              {"nanosleep(t, rest)", wait_nanosleep_with_rest},
                              {"clock_nanosleep(t, NULL)", wait_clock_nanosleep},
                              {"clock_nanosleep(REALTIME)", wait_clock_nanosleep_realtime},
                              {"poll", wait_poll},
                              {"poll of nothing", wait_poll_for_nothing},
                              {"ppoll", wait_ppoll},
                              {"ppoll with a mask", wait_ppoll_with_mask},
                              {"select", wait_select},
                              {"pselect with a mask", wait_pselect},
                              {"epoll_wait", wait_epoll},
                              {"epoll_pwait with a mask", wait_epoll_with_mask},
                              {"epoll_pwait2", wait_epoll_with_nanoseconds},
                              {"sigtimedwait", wait_signal},
                              {"futex", wait_futex},
                              {"futex until", wait_futex_until},
                              {"futex_waitv until", wait_futexes_until},
                              {"pthread_cond_timedwait", wait_condition},
                              {"sem_timedwait", wait_semaphore},
                              {"poll, registers", wait_poll_looking_at_registers},
                              {"nanosleep, registers", wait_nanosleep_looking_at_registers}};

  begin_checkpoint();
  start(waits);
  end_checkpoint();

  finish(waits, 2000);
}
