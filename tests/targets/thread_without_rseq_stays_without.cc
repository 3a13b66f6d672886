#include "tests/target.h"

#include <sys/rseq.h>

TARGET() {
  if (__rseq_size == 0) SKIP("the C library registers no rseq area");
  auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
  if (syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) != 0)
    SKIP("cannot unregister: %s", strerror(errno));
  static struct rseq own __attribute__((aligned(32)));

  checkpoint_here();

  EXPECT_ERRNO(syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG), EINVAL);
  EXPECT_EQ(syscall(SYS_rseq, &own, 32, 0, RSEQ_SIG), 0);  // free for another registration
}
