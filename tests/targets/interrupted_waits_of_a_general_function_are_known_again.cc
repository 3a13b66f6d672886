// settle: 1.5
#include "tests/targets/timed_waits.h"

// syscall(3) makes them all from one place, where no code tells which call it is. That has to be known at the
// second checkpoint, when the kernel shows restart_syscall(2) alone.
static bool general_poll() {
  struct pollfd one = {silent_fd(), POLLIN, 0};
  return syscall(SYS_poll, &one, 1, limit_s * 1000) == 0;
}
static bool general_poll_of_nothing() {
  return syscall(SYS_poll, nullptr, 0, limit_s * 1000) == 0;
}
static bool general_nanosleep() {
  return syscall(SYS_nanosleep, &limit_spec, nullptr) == 0;
}
static bool general_nanosleep_with_rest() {
  struct timespec rest = limit_spec;
  return syscall(SYS_nanosleep, &rest, &rest) == 0;
}
static bool general_clock_nanosleep() {
  return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &limit_spec, nullptr) == 0;
}
// As Go and Rust make calls: the number comes from anywhere.
static bool inline_clock_nanosleep() {
  long result = SYS_clock_nanosleep;
  asm volatile("" : "+r"(result));
  register const void* rest asm("r10") = nullptr;
  asm volatile("nop; nop; syscall"
               : "+a"(result)
               : "D"(CLOCK_BOOTTIME), "S"(0), "d"(&limit_spec), "r"(rest)
               : "rcx", "r11", "memory");
  return result == 0;
}

TARGET() {
  silent_fd();
  static TimedWait waits[] = {{"poll", general_poll},
                              {"poll of nothing", general_poll_of_nothing},
                              {"nanosleep(t, NULL)", general_nanosleep},
                              {"nanosleep(t, t)", general_nanosleep_with_rest},
                              {"clock_nanosleep", general_clock_nanosleep},
                              {"clock_nanosleep, inline", inline_clock_nanosleep},
                              {"futex", wait_futex}};

  begin_checkpoint();
  start(waits);
  end_checkpoint();

  finish(waits, 2000);
}
