// timeout: 40
#include "tests/target.h"

#include <sched.h>
#include <sys/rseq.h>

// Counters per processor, added to without atomic instructions: only the kernel's restarting of an
// interrupted sequence makes that right. Each thread checks at its end that no addition was lost or made
// twice.
static long counters[1024][8];
static bool stop;

static bool add_one(struct rseq* area) {
  bool done = false;
  asm volatile goto(
      ".pushsection __rseq_cs, \"aw\"\n\t"
      ".balign 32\n\t"
      "3: .long 0, 0\n\t"
      ".quad 1f, 2f - 1f, 4f\n\t"
      ".popsection\n\t"
      "leaq 3b(%%rip), %%rax\n\t"
      "movq %%rax, 8(%0)\n\t"  // rseq_cs
      "1:\n\t"
      "movl 4(%0), %%eax\n\t"  // cpu_id
      "shlq $6, %%rax\n\t"
      "addq %1, %%rax\n\t"
      "movq (%%rax), %%rcx\n\t"
      "addq $1, %%rcx\n\t"
      "movq %%rcx, (%%rax)\n\t"
      "2:\n\t"
      "jmp %l[committed]\n\t"
      ".long 0x53053053\n\t"  // the signature in front of the abort handler
      "4: jmp %l[aborted]\n\t"
      :
      : "r"(area), "r"(counters)
      : "rax", "rcx", "memory", "cc"
      : committed, aborted);
committed:
  done = true;
aborted:
  return done;
}

static long count() {
  auto* area = reinterpret_cast<struct rseq*>(static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
  long added = 0;
  while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
    for (int i = 0; i < 1000; i++) added += add_one(area);
  }
  return added;
}

TARGET() {
  if (__rseq_size == 0) SKIP("the C library registers no rseq area");
  TargetThread a(count);
  TargetThread b(count);
  TargetThread c(count);
  TargetThread d(count);
  sleep_ms(30);

  checkpoint_here();
  sleep_ms(20);
  checkpoint_here();

  sleep_ms(30);
  __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
  long added = a.join() + b.join() + c.join() + d.join();
  long found = 0;
  for (auto& counter : counters) found += counter[0];
  EXPECT_EQ(found, added);
  EXPECT_GE(added, 1000);
}
