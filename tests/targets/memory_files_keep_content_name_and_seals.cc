// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "tests/target.h"

static std::string link_of(int fd) {
  char path[64], link[128];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return std::string(link, static_cast<size_t>(OK(readlink(path, link, sizeof link))));
}

TARGET() {
  const int plain = OK(memfd_create("plain", 0));
  const int sealed = OK(memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC));
  const int open_to_seals = OK(memfd_create("open to seals", MFD_ALLOW_SEALING));
  OK(fchmod(plain, 0640));
  EXPECT_EQ(pwrite(plain, "content", 7, 100'000), 7);
  EXPECT_EQ(lseek(plain, 3, SEEK_SET), 3);
  EXPECT_EQ(write(sealed, "forever", 7), 7);
  OK(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
  const int same = OK(dup(plain));

  checkpoint_here();

  EXPECT(link_of(plain) == "/memfd:plain (deleted)");
  EXPECT(link_of(open_to_seals) == "/memfd:open to seals (deleted)");
  char text[8] = "";
  EXPECT_EQ(pread(plain, text, 8, 100'000), 7);
  EXPECT_EQ(memcmp(text, "content", 7), 0);
  struct stat status = {};
  OK(fstat(plain, &status));
  EXPECT_EQ(status.st_size, 100'007);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_LE(status.st_blocks, 64);  // what was a hole is one
  EXPECT_EQ(lseek(same, 0, SEEK_CUR), 3);
  EXPECT_EQ(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
  EXPECT_EQ(fcntl(open_to_seals, F_GET_SEALS), 0);
  EXPECT_EQ(fcntl(sealed, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  EXPECT_EQ(fcntl(sealed, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(pwrite(sealed, "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  OK(fcntl(open_to_seals, F_ADD_SEALS, F_SEAL_GROW));
  EXPECT_EQ(pwrite(open_to_seals, "x", 1, 0), -1);
}
