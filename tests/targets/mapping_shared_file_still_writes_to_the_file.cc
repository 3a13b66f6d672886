#include "tests/target.h"

TARGET() {
  OwnedFd file(OK(open("data", O_RDWR | O_CREAT, 0600)));
  OK(ftruncate(file, 4 * 4096));
  auto* bytes = static_cast<char*>(OK(mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)));
  auto* read_only = static_cast<char*>(OK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file, 4096)));
  bytes[4096] = 'x';

  checkpoint_here();

  EXPECT_EQ(bytes[4096], 'x');
  bytes[4097] = 'y';
  EXPECT_EQ(read_only[1], 'y');
  char on_disk[2] = {};
  OK(pread(file, on_disk, 2, 4096));
  EXPECT_EQ(on_disk[0], 'x');
  EXPECT_EQ(on_disk[1], 'y');
}
