#include "tests/target.h"

TARGET() {
  OwnedFd file(OK(open("data", O_RDWR | O_CREAT, 0600)));
  for (int page = 0; page < 16; page++) {
    char block[4096];
    memset(block, 'a' + page, sizeof block);
    OK(write(file, block, sizeof block));
  }
  auto* bytes =
      static_cast<char*>(OK(mmap(nullptr, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)));
  bytes[5 * 4096 + 17] = '5';
  bytes[6 * 4096] = 0;  // a modified page may well hold zeros
  memset(bytes + 9 * 4096, 0, 4096);

  checkpoint_here();

  EXPECT_EQ(bytes[5 * 4096 + 17], '5');
  EXPECT_EQ(bytes[5 * 4096 + 18], 'f');
  EXPECT_EQ(bytes[6 * 4096], 0);
  EXPECT_EQ(bytes[9 * 4096 + 100], 0);
  EXPECT_EQ(bytes[15 * 4096], 'p');
  char on_disk = 0;
  OK(pread(file, &on_disk, 1, 5 * 4096 + 17));
  EXPECT_EQ(on_disk, 'f');
  OK(pwrite(file, "Z", 1, 12 * 4096));  // a page that was never touched still follows the file
  EXPECT_EQ(bytes[12 * 4096], 'Z');
}
