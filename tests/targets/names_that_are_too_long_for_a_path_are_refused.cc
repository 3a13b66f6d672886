// SPDX-License-Identifier: Apache-2.0
// expect: refused fd working directory longer path 4095
#include <string>

#include "tests/target.h"

TARGET() {
  constexpr int depth = 50;
  const std::string name(100, 'n');
  for (int i = 0; i < depth; i++) {
    OK(mkdir(name.c_str(), 0755));
    OK(chdir(name.c_str()));
  }
  const OwnedFd file(OK(open("file", O_RDWR | O_CREAT, 0600)));
  OK(ftruncate(file, 4096));
  auto* bytes = static_cast<char*>(OK(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)));
  bytes[0] = 7;

  checkpoint_here();

  EXPECT_EQ(bytes[0], 7);
  EXPECT_EQ(access("file", F_OK), 0);
  OK(chdir(target_dir));
}
