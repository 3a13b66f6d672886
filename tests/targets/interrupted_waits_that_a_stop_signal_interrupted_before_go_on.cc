// settle: 0.3
#include <sys/wait.h>

#include "tests/targets/timed_waits.h"

// SIGSTOP and SIGCONT put every wait into restart_syscall(2) before any checkpoint: nobody has left word
// which call it is. The kernel tells where in it the thread sleeps.
static bool general_poll() {
  struct pollfd one = {silent_fd(), POLLIN, 0};
  return syscall(SYS_poll, &one, 1, limit_s * 1000) == 0;
}
static bool general_nanosleep() {
  return syscall(SYS_nanosleep, &limit_spec, nullptr) == 0;
}
static bool general_clock_nanosleep() {
  return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &limit_spec, nullptr) == 0;
}

static void stop_and_continue() {
  const pid_t target = getpid();
  const pid_t child = OK(fork());
  if (child == 0) {
    kill(target, SIGSTOP);
    sleep_ms(50);
    kill(target, SIGCONT);
    _exit(0);
  }
  OK(waitpid(child, nullptr, 0));
}

TARGET() {
  silent_fd();
  static TimedWait waits[] = {{"poll", wait_poll},
                              {"nanosleep", wait_nanosleep},
                              {"poll, general", general_poll},
                              {"nanosleep, general", general_nanosleep},
                              {"clock_nanosleep, general", general_clock_nanosleep},
                              {"futex", wait_futex}};
  start(waits);
  sleep_ms(200);
  stop_and_continue();

  checkpoint_during([] {
    sleep_ms(500);
    return 0;
  });

  finish(waits, limit_s * 1000 + 500);
}
