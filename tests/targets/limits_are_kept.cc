// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include "tests/target.h"

static void set_limit(__rlimit_resource which, rlim_t soft, rlim_t hard) {
  const rlimit limit{soft, hard};
  OK(setrlimit(which, &limit));
}
static void expect_limit(__rlimit_resource which, rlim_t soft, rlim_t hard) {
  rlimit limit{};
  OK(getrlimit(which, &limit));
  EXPECT_EQ(limit.rlim_cur, soft);
  EXPECT_EQ(limit.rlim_max, hard);
}

TARGET() {
  rlimit address_space{};
  OK(getrlimit(RLIMIT_AS, &address_space));
  set_limit(RLIMIT_CORE, 0, 4096);
  set_limit(RLIMIT_NOFILE, 10, 100);
  set_limit(RLIMIT_FSIZE, 100000, 200000);
  set_limit(RLIMIT_CPU, 100, 200);
  // Less than the process has: it may not grow, and the restart must work all the same.
  set_limit(RLIMIT_AS, 1 << 20, address_space.rlim_max);
  set_limit(RLIMIT_STACK, 256 << 10, 64 << 20);
  set_limit(RLIMIT_SIGPENDING, 5, 50);

  checkpoint_here();

  expect_limit(RLIMIT_CORE, 0, 4096);
  expect_limit(RLIMIT_NOFILE, 10, 100);
  expect_limit(RLIMIT_FSIZE, 100000, 200000);
  expect_limit(RLIMIT_CPU, 100, 200);
  expect_limit(RLIMIT_AS, 1 << 20, address_space.rlim_max);
  expect_limit(RLIMIT_STACK, 256 << 10, 64 << 20);
  expect_limit(RLIMIT_SIGPENDING, 5, 50);
}
