// SPDX-License-Identifier: Apache-2.0
// expect: refused inotify events read
#include <sys/inotify.h>

#include "tests/target.h"

TARGET() {
  const int fd = OK(inotify_init1(0));
  OK(inotify_add_watch(fd, ".", IN_CREATE));
  OK(mkdir("folder", 0700));

  checkpoint_here();

  alignas(inotify_event) char room[4096];
  EXPECT_GE(OK(read(fd, room, sizeof room)), static_cast<ssize_t>(sizeof(inotify_event)));
}
