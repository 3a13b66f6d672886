// outside-view: skip status threads timers
#include "tests/target.h"

#include <signal.h>
#include <sys/time.h>

// A thread queues numbered real-time signals to another as fast as it can: each must arrive once, in order.
static volatile sig_atomic_t expected_next;
static volatile sig_atomic_t out_of_order;
static bool stop;
static pthread_t receiver;

static void on_signal(int, siginfo_t* info, void*) {
  if (info->si_value.sival_int != expected_next) out_of_order = out_of_order + 1;
  expected_next = info->si_value.sival_int + 1;
}

TARGET() {
  struct sigaction action = {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  OK(sigaction(SIGRTMIN + 2, &action, nullptr));
  OK0(pthread_create(
      &receiver, nullptr,
      [](void*) -> void* {
        while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) sleep_ms(1);
        return nullptr;
      },
      nullptr));
  static int sent;
  TargetThread sender([] {
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
      union sigval value = {};
      value.sival_int = sent;
      if (pthread_sigqueue(receiver, SIGRTMIN + 2, value) == 0) sent++;  // EAGAIN: the queue is full
      if (sent % 64 == 0) sleep_ms(1);
    }
  });
  sigset_t mine;
  sigfillset(&mine);
  pthread_sigmask(SIG_BLOCK, &mine, nullptr);
  sleep_ms(10);

  checkpoint_here();

  sleep_ms(10);
  __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
  sender.join();
  OK0(pthread_join(receiver, nullptr));
  EXPECT_EQ(out_of_order, 0);
  EXPECT_GE(sent, 10);
  EXPECT_GE(expected_next, sent - 300);  // what was still queued when the receiver ended is gone
}
