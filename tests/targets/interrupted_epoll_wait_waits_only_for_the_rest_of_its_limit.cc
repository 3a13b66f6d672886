// settle: 1.5
#include "tests/targets/timed_waits.h"

// In the thread that also makes crs's own calls. Where the compiler may look at the limit after the call, it
// must be the program's own; then the whole time may be waited again.
static bool wait_with_limit_looked_at() {
  static const int empty = OK(epoll_create1(0));
  struct epoll_event found;
  long result = SYS_epoll_wait;
  register long limit asm("r10") = limit_s * 1000;
  asm volatile("syscall"
               : "+a"(result), "+r"(limit)
               : "D"(empty), "S"(&found), "d"(1)
               : "rcx", "r11", "memory");
  return result == 0 && limit == limit_s * 1000;
}

TARGET() {
  static TimedWait in_leader = {"epoll_wait", wait_epoll};
  static TimedWait looked_at = {"epoll_wait, registers", wait_with_limit_looked_at};

  begin_checkpoint();
  TargetThread other([] { run_timed_wait(&looked_at); });
  run_timed_wait(&in_leader);
  other.join();
  end_checkpoint();

  EXPECT(in_leader.good);
  EXPECT_GE(in_leader.lasted_ns, limit_s * second_ns);
  EXPECT_LE(in_leader.since_go_ms, 2000);
  EXPECT(looked_at.good);
  EXPECT_GE(looked_at.lasted_ns, limit_s * second_ns);
}
