#include "tests/target.h"

#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t seen;
static void on_signal(int) {
  seen = 1;
}

TARGET() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  OK(sigaction(SIGALRM, &action, nullptr));
  struct itimerval once = {{0, 0}, {1, 0}};
  OK(setitimer(ITIMER_REAL, &once, nullptr));

  int result = checkpoint_during([] { return pause(); });

  EXPECT_EQ(result, -1);
  EXPECT_EQ(errno, EINTR);
  EXPECT_EQ(seen, 1);
}
