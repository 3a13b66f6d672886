#include "tests/target.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>

#include <initializer_list>

static volatile sig_atomic_t seen[65];
static pid_t sender[65];
static pthread_t receiver[65];
static sigjmp_buf back;

static void on_signal(int number, siginfo_t* info, void*) {
  seen[number] = seen[number] + 1;
  sender[number] = info->si_pid;
  receiver[number] = pthread_self();
  if (number == SIGABRT) siglongjmp(back, 1);
}

TARGET() {
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO;
  for (int number : {SIGUSR1, SIGUSR2, SIGABRT}) OK(sigaction(number, &action, nullptr));
  static bool released;
  TargetThread other([] {
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);
  });
  other.tid();

  checkpoint_here();

  EXPECT_EQ(getpid(), syscall(SYS_getpid));
  EXPECT_EQ(raise(SIGUSR1), 0);
  EXPECT_EQ(seen[SIGUSR1], 1);
  EXPECT_EQ(sender[SIGUSR1], getpid());
  EXPECT_EQ(pthread_kill(other.handle(), SIGUSR2), 0);
  AWAIT(seen[SIGUSR2] == 1);
  EXPECT(pthread_equal(receiver[SIGUSR2], other.handle()) != 0);
  EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
  AWAIT(seen[SIGUSR1] == 2);
  if (sigsetjmp(back, 1) == 0) abort();
  EXPECT_EQ(seen[SIGABRT], 1);
  int status = in_child([] {
    signal(SIGABRT, SIG_DFL);
    abort();
    return 0;
  });
  EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  other.join();
}
