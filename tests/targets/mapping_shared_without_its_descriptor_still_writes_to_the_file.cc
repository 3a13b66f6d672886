#include "tests/target.h"

TARGET() {
  char* bytes = nullptr;
  {
    OwnedFd file(OK(open("data", O_RDWR | O_CREAT, 0600)));
    OK(ftruncate(file, 2 * 4096));
    bytes = static_cast<char*>(OK(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)));
  }
  bytes[1] = 'x';

  checkpoint_here();

  bytes[4096] = 'y';
  EXPECT_EQ(read_text("data")[1], 'x');
  EXPECT_EQ(read_text("data")[4096], 'y');
}
