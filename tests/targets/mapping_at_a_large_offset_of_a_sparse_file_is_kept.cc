#include "tests/target.h"

TARGET() {
  OwnedFd file(OK(open("data", O_RDWR | O_CREAT, 0600)));
  constexpr off_t offset = (off_t{5} << 32) + 3 * 4096;
  if (ftruncate(file, offset + 2 * 4096) != 0) SKIP("no sparse files of 20 GiB here: %s", strerror(errno));
  auto* shared =
      static_cast<char*>(OK(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset)));
  auto* own =
      static_cast<char*>(OK(mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, offset)));
  shared[4096] = 's';
  own[1] = 'o';

  checkpoint_here();

  EXPECT_EQ(own[1], 'o');
  EXPECT_EQ(own[4096], 's');
  shared[4097] = 't';
  char on_disk = 0;
  OK(pread(file, &on_disk, 1, offset + 4097));
  EXPECT_EQ(on_disk, 't');
}
