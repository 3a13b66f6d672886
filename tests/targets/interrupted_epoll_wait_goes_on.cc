// settle: 0.3
#include "tests/target.h"

#include <sys/epoll.h>

TARGET() {
  static int ends[2];
  OK(pipe(ends));
  static int poller = OK(epoll_create1(0));
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = 77;
  OK(epoll_ctl(poller, EPOLL_CTL_ADD, ends[0], &event));
  static int empty = OK(epoll_create1(0));
  auto wait_on = [](int fd, int limit, int wanted) {
    struct epoll_event found = {};
    int64_t start = monotonic_ms();
    int result = epoll_wait(fd, &found, 1, limit);
    if (result < 0) return -errno;
    if (limit > 0 && monotonic_ms() - start < limit - 1) return 1000;  // too early
    return result == wanted ? 0 : 1001;
  };

  begin_checkpoint();
  TargetThread endless([=] { return wait_on(poller, -1, 1); });
  TargetThread limited([=] { return wait_on(empty, 1000, 0); });
  end_checkpoint();

  sleep_ms(20);
  OK(write(ends[1], "x", 1));
  EXPECT_EQ(endless.join(), 0);
  EXPECT_EQ(limited.join(), 0);
}
