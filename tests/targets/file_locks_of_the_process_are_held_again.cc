// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

static struct flock range(short type, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

// 0: nobody stands in the way of an exclusive lock; else who, as another process is told.
static pid_t holder(const char* name, off_t start, off_t length) {
  int status = in_child([&] {
    OwnedFd fd(OK(open(name, O_RDWR)));
    struct flock lock = range(F_WRLCK, start, length);
    OK(fcntl(fd, F_GETLK, &lock));
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid == getppid() ? 1 : 2;
  });
  return WEXITSTATUS(status);
}

TARGET() {
  constexpr off_t far = off_t{1} << 40;
  OwnedFd fd(OK(open("file", O_RDWR | O_CREAT, 0600)));
  OK(pwrite(fd, "content", 7, 0));
  OwnedFd reader(OK(open("file", O_RDONLY)));
  struct flock write_lock = range(F_WRLCK, 100, 10), read_lock = range(F_RDLCK, 200, 1),
               rest = range(F_WRLCK, far, 0);
  OK(fcntl(fd, F_SETLK, &write_lock));
  OK(fcntl(reader, F_SETLK, &read_lock));
  OK(fcntl(fd, F_SETLK, &rest));

  checkpoint_here();

  EXPECT_EQ(holder("file", 0, 100), 0);
  EXPECT_EQ(holder("file", 100, 1), 1);
  EXPECT_EQ(holder("file", 109, 1), 1);
  EXPECT_EQ(holder("file", 110, 90), 0);
  EXPECT_EQ(holder("file", 200, 1), 1);
  EXPECT_EQ(holder("file", 201, far - 201), 0);
  EXPECT_EQ(holder("file", far, 1), 1);
  EXPECT_EQ(holder("file", far * 1000, 0), 1);
  int shared = in_child([] {
    OwnedFd other(OK(open("file", O_RDONLY)));
    struct flock lock = range(F_RDLCK, 200, 1);
    return fcntl(other, F_SETLK, &lock) == 0 ? 0 : 1;
  });
  EXPECT_EQ(shared, 0);  // a shared lock came back as one
  struct flock all = range(F_UNLCK, 0, 0);
  OK(fcntl(fd, F_SETLK, &all));
  EXPECT_EQ(holder("file", 0, 0), 0);
}
