// SPDX-License-Identifier: Apache-2.0
#include <sys/file.h>

#include "tests/target.h"

// Whether another description may take this lock now.
static bool is_free(const char* name, int operation) {
  OwnedFd fd(OK(open(name, O_RDONLY)));
  return flock(fd, operation | LOCK_NB) == 0;
}

static struct flock write_lock(off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

static bool range_is_free(const char* name, off_t start, off_t length) {
  OwnedFd fd(OK(open(name, O_RDWR)));
  struct flock lock = write_lock(start, length);
  OK(fcntl(fd, F_OFD_GETLK, &lock));
  return lock.l_type == F_UNLCK;
}

TARGET() {
  OK(mkdir("directory", 0700));
  OwnedFd one(OK(open("exclusive", O_RDWR | O_CREAT, 0600)));
  OwnedFd copy(OK(dup(one)));
  OwnedFd first(OK(open("shared", O_RDONLY | O_CREAT, 0600))), second(OK(open("shared", O_RDONLY)));
  OwnedFd directory(OK(open("directory", O_RDONLY | O_DIRECTORY)));
  OwnedFd record(OK(open("record", O_RDWR | O_CREAT, 0600))), other_record(OK(open("record", O_RDWR)));
  OK(flock(one, LOCK_EX));
  OK(flock(first, LOCK_SH));
  OK(flock(second, LOCK_SH));
  OK(flock(directory, LOCK_EX));
  struct flock low = write_lock(0, 50), high = write_lock(50, 50);
  OK(fcntl(record, F_OFD_SETLK, &low));
  OK(fcntl(other_record, F_OFD_SETLK, &high));

  checkpoint_here();

  EXPECT(!is_free("exclusive", LOCK_SH));
  EXPECT(!is_free("directory", LOCK_SH));
  EXPECT(is_free("shared", LOCK_SH));
  EXPECT(!is_free("shared", LOCK_EX));
  OK(flock(first, LOCK_UN));
  EXPECT(!is_free("shared", LOCK_EX));  // the second description has one of its own
  OK(flock(second, LOCK_UN));
  EXPECT(is_free("shared", LOCK_EX));
  OK(flock(copy, LOCK_UN));  // the copy shares the description and its lock
  EXPECT(is_free("exclusive", LOCK_EX));
  EXPECT(!range_is_free("record", 0, 1));
  EXPECT(!range_is_free("record", 99, 1));
  EXPECT(range_is_free("record", 100, 0));
  low.l_type = F_UNLCK;
  OK(fcntl(record, F_OFD_SETLK, &low));
  EXPECT(range_is_free("record", 0, 50));
  EXPECT(!range_is_free("record", 50, 50));
}
