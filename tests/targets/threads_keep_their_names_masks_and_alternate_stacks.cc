#include "tests/target.h"

#include <signal.h>

static int arrived;
static bool released;
static __thread uintptr_t handler_stack;

static void on_signal(int) {
  char here = 0;
  handler_stack = reinterpret_cast<uintptr_t>(&here);
}  // NOLINT(clang-analyzer-core.StackAddressEscape): it is only compared

// What thread `me` sees of itself before and after; true if it is as it set it up.
static bool live(int me) {
  static char stacks[3][32768];
  char name[16];
  snprintf(name, sizeof name, "worker-%d", me);
  pthread_setname_np(pthread_self(), name);
  sigset_t mine;
  sigemptyset(&mine);
  sigaddset(&mine, SIGRTMIN + me);
  sigaddset(&mine, SIGHUP);
  pthread_sigmask(SIG_SETMASK, &mine, nullptr);
  stack_t stack = {};
  stack.ss_sp = stacks[me];
  stack.ss_size = sizeof stacks[me];
  if (me != 0 && sigaltstack(&stack, nullptr) != 0) return false;
  __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) sleep_ms(1);

  char found_name[16] = "";
  pthread_getname_np(pthread_self(), found_name, sizeof found_name);
  sigset_t found;
  pthread_sigmask(SIG_BLOCK, nullptr, &found);
  bool good = strcmp(name, found_name) == 0;
  for (int number = 1; number <= SIGRTMAX; number++)
    good = good && sigismember(&mine, number) == sigismember(&found, number);
  stack_t found_stack = {};
  sigaltstack(nullptr, &found_stack);
  if (me == 0) return good && found_stack.ss_flags == SS_DISABLE;
  good = good && found_stack.ss_sp == stack.ss_sp && found_stack.ss_size == stack.ss_size &&
         found_stack.ss_flags == 0;
  pthread_kill(pthread_self(), SIGUSR1);  // its handler runs on the alternate stack
  auto from = reinterpret_cast<uintptr_t>(stacks[me]);
  return good && handler_stack >= from && handler_stack < from + sizeof stacks[me];
}

TARGET() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  OK(sigaction(SIGUSR1, &action, nullptr));
  TargetThread zero([] { return live(0); });
  TargetThread one([] { return live(1); });
  TargetThread two([] { return live(2); });
  AWAIT(__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) == 3);

  checkpoint_here();

  __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
  EXPECT_EQ(zero.join(), 1);
  EXPECT_EQ(one.join(), 1);
  EXPECT_EQ(two.join(), 1);
}
