// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "tests/target.h"

static constexpr char own_name[] = "program (deleted)";

// The same program again, started under that name.
static void start_as(const std::string& name) {
  const OwnedFd from(OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
  const int to = OK(open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0700));
  struct stat status {};
  OK(fstat(from, &status));
  for (off_t at = 0; at < status.st_size;) {
    char part[65536];
    const ssize_t length = OK(pread(from, part, sizeof part, at));
    if (OK(write(to, part, static_cast<size_t>(length))) != length) FATAL("a short write");
    at += length;
  }
  OK(close(to));  // or it would be busy
  OK(execl(name.c_str(), name.c_str(), nullptr));
}

TARGET() {
  char executable[4096] = {};
  OK(readlink("/proc/self/exe", executable, sizeof executable - 1));
  if (strstr(executable, own_name) == nullptr) start_as(std::string(target_dir) + "/" + own_name);
  const OwnedFd file(OK(open("file (deleted)", O_RDWR | O_CREAT, 0600)));

  checkpoint_here();

  OK(readlink("/proc/self/exe", executable, sizeof executable - 1));
  EXPECT(strstr(executable, own_name) != nullptr);
  EXPECT_EQ(write(file, "a", 1), 1);
  struct stat status {};
  EXPECT_EQ(stat("file (deleted)", &status), 0);
  EXPECT_EQ(status.st_size, 1);
}
