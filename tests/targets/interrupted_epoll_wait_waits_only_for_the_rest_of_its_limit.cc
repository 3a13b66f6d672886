// settle: 1.5
#include <sys/epoll.h>

#include <initializer_list>

#include "tests/target.h"

// 3 seconds each, of which 1.5 are over at the checkpoint. Where the compiler may look at the limit after the
// call, it must be the program's own; then the whole time may be waited again.
constexpr int limit_ms = 3000;
static int empty;

struct Waited {
  bool good;
  int64_t lasted_ms;
  int64_t since_go_ms;
};

template <typename Call>
static Waited measure(Call call) {
  const int64_t start = monotonic_ms();
  Waited waited{};
  waited.good = call();
  waited.since_go_ms = ms_since_go();
  waited.lasted_ms = monotonic_ms() - start;
  return waited;
}

static bool wait_by_library() {
  struct epoll_event found;
  return epoll_wait(empty, &found, 1, limit_ms) == 0;
}
static bool wait_with_mask() {
  struct epoll_event found;
  sigset_t none;
  sigemptyset(&none);
  return epoll_pwait(empty, &found, 1, limit_ms, &none) == 0;
}
static bool wait_with_limit_looked_at() {
  struct epoll_event found;
  long result = SYS_epoll_wait;
  register long limit asm("r10") = limit_ms;
  asm volatile("syscall"
               : "+a"(result), "+r"(limit)
               : "D"(empty), "S"(&found), "d"(1)
               : "rcx", "r11", "memory");
  return result == 0 && limit == limit_ms;
}

TARGET() {
  empty = OK(epoll_create1(0));
  static Waited by_library, with_mask, looked_at, in_leader;

  begin_checkpoint();
  TargetThread first([] { by_library = measure(wait_by_library); });
  TargetThread second([] { with_mask = measure(wait_with_mask); });
  TargetThread third([] { looked_at = measure(wait_with_limit_looked_at); });
  in_leader = measure(wait_by_library);
  first.join();
  second.join();
  third.join();
  end_checkpoint();

  for (const Waited& each : {by_library, with_mask, in_leader}) {
    EXPECT(each.good);
    EXPECT_GE(each.lasted_ms, limit_ms - 1);
    EXPECT_LE(each.since_go_ms, 2000);
  }
  EXPECT(looked_at.good);
  EXPECT_GE(looked_at.lasted_ms, limit_ms - 1);
}
