// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <sys/inotify.h>

#include "tests/target.h"

struct Told {
  int wd = -1;
  uint32_t mask = 0;
  char name[32] = "";
};

// The next event that is not of the type `other`.
static Told next(int fd, uint32_t other = 0) {
  alignas(inotify_event) static char room[4096];
  static ssize_t at = 0, size = 0;
  for (;;) {
    if (at == size) {
      pollfd ready{fd, POLLIN, 0};
      if (OK(poll(&ready, 1, 10000)) == 0) return {};
      size = OK(read(fd, room, sizeof room));
      at = 0;
    }
    const auto* const event = reinterpret_cast<const inotify_event*>(room + at);
    at += static_cast<ssize_t>(sizeof *event + event->len);
    if ((event->mask & other) != 0) continue;
    Told told;
    told.wd = event->wd;
    told.mask = event->mask;
    if (event->len > 0) snprintf(told.name, sizeof told.name, "%s", event->name);
    return told;
  }
}

static void touch(const char* name, const char* text) {
  const int fd = OK(open(name, O_WRONLY | O_CREAT | O_APPEND, 0600));
  OK(write(fd, text, strlen(text)));
  OK(close(fd));
}

TARGET() {
  OK(mkdir("folder", 0700));
  touch("file", "x");
  touch("once", "x");
  OK(symlink("file", "link"));
  const int fd = OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  const int gone = OK(inotify_add_watch(fd, "folder", IN_CREATE));
  OK(inotify_rm_watch(fd, gone));
  EXPECT_EQ(next(fd).mask, IN_IGNORED);
  const int file = OK(inotify_add_watch(fd, "link", IN_MODIFY));
  const int folder = OK(inotify_add_watch(fd, "folder", IN_CREATE | IN_DELETE | IN_EXCL_UNLINK | IN_ONLYDIR));
  const int once = OK(inotify_add_watch(fd, "once", IN_MODIFY | IN_ATTRIB | IN_ONESHOT));
  const int link = OK(inotify_add_watch(fd, "link", IN_ATTRIB | IN_DONT_FOLLOW));

  checkpoint_here();

  EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  touch("folder/new", "x");
  Told told = next(fd);
  EXPECT_EQ(told.wd, folder);
  EXPECT_EQ(told.mask, IN_CREATE);
  EXPECT_EQ(strcmp(told.name, "new"), 0);
  OK(unlink("folder/new"));
  told = next(fd);
  EXPECT_EQ(told.mask, IN_DELETE);
  touch("file", "y");
  told = next(fd);
  EXPECT_EQ(told.wd, file);
  EXPECT_EQ(told.mask, IN_MODIFY);
  touch("once", "y");
  told = next(fd);
  EXPECT_EQ(told.wd, once);
  EXPECT_EQ(next(fd).mask, IN_IGNORED);
  OK(lchown("link", getuid(), getgid()));
  told = next(fd);
  EXPECT_EQ(told.wd, link);
  EXPECT_EQ(told.mask, IN_ATTRIB);
  // A new one gets a number that none of them has.
  const int later = OK(inotify_add_watch(fd, "once", IN_MODIFY));
  EXPECT(later != file && later != folder && later != link);
}
