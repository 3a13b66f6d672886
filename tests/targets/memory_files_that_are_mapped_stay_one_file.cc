// SPDX-License-Identifier: Apache-2.0
#include "tests/target.h"

#define PAGE 4096

TARGET() {
  const int fd = OK(memfd_create("mapped", MFD_ALLOW_SEALING));
  OK(ftruncate(fd, 4 * PAGE));
  char* shared = static_cast<char*>(OK(mmap(nullptr, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)));
  char* own = static_cast<char*>(OK(mmap(nullptr, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)));
  char* second = static_cast<char*>(OK(mmap(nullptr, PAGE, PROT_READ, MAP_SHARED, fd, PAGE)));
  strcpy(shared, "first");
  strcpy(shared + PAGE, "second");
  strcpy(own, "mine");
  OK(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK));

  const int closed = OK(memfd_create("closed", 0));
  OK(ftruncate(closed, PAGE));
  char* last = static_cast<char*>(OK(mmap(nullptr, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, closed, 0)));
  strcpy(last, "nobody else leads here");
  OK(close(closed));

  const int sealed = OK(memfd_create("sealed", MFD_ALLOW_SEALING));
  EXPECT_EQ(write(sealed, "constant", 9), 9);
  OK(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
  char* constant = static_cast<char*>(OK(mmap(nullptr, PAGE, PROT_READ, MAP_PRIVATE, sealed, 0)));

  checkpoint_here();

  EXPECT_EQ(strcmp(shared, "first"), 0);
  EXPECT_EQ(strcmp(second, "second"), 0);
  EXPECT_EQ(strcmp(own, "mine"), 0);
  EXPECT_EQ(strcmp(own + PAGE, "second"), 0);
  EXPECT_EQ(strcmp(last, "nobody else leads here"), 0);
  EXPECT_EQ(strcmp(constant, "constant"), 0);
  strcpy(shared + PAGE, "changed");
  EXPECT_EQ(strcmp(second, "changed"), 0);
  char text[8] = "";
  EXPECT_EQ(pread(fd, text, 8, PAGE), 8);
  EXPECT_EQ(strcmp(text, "changed"), 0);
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK);
  EXPECT_EQ(fcntl(sealed, F_GET_SEALS), F_SEAL_WRITE);
}
