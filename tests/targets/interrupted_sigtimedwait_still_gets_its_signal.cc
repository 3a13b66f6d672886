// settle: 0.3
// checkpoints: 2
#include <signal.h>

#include "tests/target.h"

// However its limit was replaced while it waited: the signal ends the wait, a caught one makes it EINTR, and
// nothing of what the program handed over has changed.
constexpr struct timespec limit = {20, 0};

static void on_signal(int) {}

static sigset_t only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

static bool wait_for_signal() {
  const sigset_t set = only(SIGRTMIN + 3);
  struct timespec own = limit;
  siginfo_t info = {};
  const int got = sigtimedwait(&set, &info, &own);
  return got == SIGRTMIN + 3 && info.si_value.sival_int == 77 && own.tv_sec == limit.tv_sec &&
         own.tv_nsec == 0;
}

static bool wait_until_interrupted() {
  const sigset_t set = only(SIGRTMIN + 4);
  return sigtimedwait(&set, nullptr, &limit) == -1 && errno == EINTR;
}

// The compiler may look at the limit's address after the call: it must be the program's own.
static bool wait_with_limit_looked_at() {
  const sigset_t set = only(SIGRTMIN + 5);
  long result = SYS_rt_sigtimedwait;
  const struct timespec* own = &limit;
  register long size asm("r10") = 8;
  asm volatile("syscall"
               : "+a"(result), "+d"(own), "+r"(size)
               : "D"(&set), "S"(nullptr)
               : "rcx", "r11", "memory");
  return result == SIGRTMIN + 5 && own == &limit && size == 8;
}

TARGET() {
  for (int i = 3; i <= 5; i++) {
    const sigset_t set = only(SIGRTMIN + i);
    OK0(pthread_sigmask(SIG_BLOCK, &set, nullptr));
  }
  struct sigaction action = {};
  action.sa_handler = on_signal;
  OK(sigaction(SIGUSR1, &action, nullptr));

  begin_checkpoint();
  TargetThread first(wait_for_signal);
  TargetThread second(wait_until_interrupted);
  TargetThread third(wait_with_limit_looked_at);
  end_checkpoint();

  sleep_ms(50);
  union sigval value;
  value.sival_int = 77;
  OK0(pthread_sigqueue(first.handle(), SIGRTMIN + 3, value));
  OK0(pthread_kill(second.handle(), SIGUSR1));
  OK0(pthread_kill(third.handle(), SIGRTMIN + 5));
  EXPECT(first.join());
  EXPECT(second.join());
  EXPECT(third.join());
}
