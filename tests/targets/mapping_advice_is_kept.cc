#include "tests/target.h"

#include <sys/wait.h>

#include <initializer_list>

// The flags themselves (VmFlags in smaps) are compared from outside; here is what they do.
TARGET() {
  constexpr size_t size = 4 * 4096;
  auto map = [] {
    auto* bytes = static_cast<char*>(
        OK(mmap(nullptr, size + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    OK(mprotect(bytes + size, 4096, PROT_NONE));  // keeps neighbours apart
    bytes[4096] = 'x';
    return bytes;
  };
  char* dump = map();
  char* no_fork = map();
  char* wipe = map();
  char* huge = map();
  char* no_huge = map();
  char* random = map();
  char* sequential = map();
  OK(madvise(dump, size, MADV_DONTDUMP));
  OK(madvise(no_fork, size, MADV_DONTFORK));
  OK(madvise(wipe, size, MADV_WIPEONFORK));
  madvise(huge, size, MADV_HUGEPAGE);  // EINVAL where the kernel has no huge pages
  madvise(no_huge, size, MADV_NOHUGEPAGE);
  OK(madvise(random, size, MADV_RANDOM));
  OK(madvise(sequential, size, MADV_SEQUENTIAL));

  checkpoint_here();

  for (char* bytes : {dump, no_fork, wipe, huge, no_huge, random, sequential}) EXPECT_EQ(bytes[4096], 'x');
  EXPECT_EQ(WEXITSTATUS(in_child([&] { return wipe[4096] == 0 ? 0 : 1; })), 0);
  EXPECT_EQ(WEXITSTATUS(in_child([&] {
              unsigned char present;
              return mincore(no_fork, size, &present) == -1 && errno == ENOMEM ? 0 : 1;
            })),
            0);
}
