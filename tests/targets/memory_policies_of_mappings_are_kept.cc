// SPDX-License-Identifier: Apache-2.0
#include <linux/mempolicy.h>

#include "tests/target.h"

#define PAGE 4096

static int policy_at(const char* address, unsigned long* nodes) {
  int mode = -1;
  OK(syscall(SYS_get_mempolicy, &mode, nodes, 1024, address, MPOL_F_ADDR));
  return mode;
}

TARGET() {
  const unsigned long first[16] = {1};
  char* memory = static_cast<char*>(
      OK(mmap(nullptr, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  char* shared = static_cast<char*>(
      OK(mmap(nullptr, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)));
  if (syscall(SYS_mbind, memory + 2 * PAGE, 2 * PAGE, MPOL_BIND | MPOL_F_STATIC_NODES, first, 1024, 0) != 0)
    SKIP("no NUMA policy: %s", strerror(errno));
  OK(syscall(SYS_mbind, memory + 6 * PAGE, 2 * PAGE, MPOL_PREFERRED, first, 1024, 0));
  OK(syscall(SYS_mbind, shared + PAGE, PAGE, MPOL_INTERLEAVE, first, 1024, 0));
  memset(memory, 7, 8 * PAGE);

  checkpoint_here();

  const int wanted[] = {MPOL_DEFAULT,
                        MPOL_DEFAULT,
                        MPOL_BIND | MPOL_F_STATIC_NODES,
                        MPOL_BIND | MPOL_F_STATIC_NODES,
                        MPOL_DEFAULT,
                        MPOL_DEFAULT,
                        MPOL_PREFERRED,
                        MPOL_PREFERRED};
  for (int page = 0; page < 8; page++) {
    unsigned long nodes[16] = {};
    EXPECT_EQ(policy_at(memory + page * PAGE, nodes), wanted[page]);
    if (wanted[page] != MPOL_DEFAULT) EXPECT_EQ(nodes[0], 1u);
    EXPECT_EQ(memory[page * PAGE], 7);
  }
  unsigned long nodes[16] = {};
  EXPECT_EQ(policy_at(shared, nodes), MPOL_DEFAULT);
  EXPECT_EQ(policy_at(shared + PAGE, nodes), MPOL_INTERLEAVE);
  EXPECT_EQ(policy_at(shared + 2 * PAGE, nodes), MPOL_DEFAULT);
}
