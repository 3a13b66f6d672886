// settle: 0.3
// checkpoints: 5
// variants: once running
#include "tests/targets/timed_waits.h"

// Of 3 seconds at least 1.5 are over at the fifth checkpoint, however often the wait was interrupted before.
TARGET() {
  silent_fd();
  static TimedWait waits[] = {{"nanosleep(t, NULL)", wait_nanosleep},
                              {"nanosleep(t, rest)", wait_nanosleep_with_rest},
                              {"clock_nanosleep(t, NULL)", wait_clock_nanosleep},
                              {"poll", wait_poll},
                              {"ppoll", wait_ppoll},
                              {"select", wait_select},
                              {"epoll_wait", wait_epoll},
                              {"epoll_pwait2", wait_epoll_with_nanoseconds},
                              {"sigtimedwait", wait_signal},
                              {"futex", wait_futex},
                              {"pthread_cond_timedwait", wait_condition}};

  begin_checkpoint();
  start(waits);
  end_checkpoint();

  finish(waits, 2000);
}
