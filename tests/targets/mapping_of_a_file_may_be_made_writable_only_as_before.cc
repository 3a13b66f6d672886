#include "tests/target.h"

TARGET() {
  OwnedFd both(OK(open("data", O_RDWR | O_CREAT, 0600)));
  OK(ftruncate(both, 4096));
  OwnedFd reading(OK(open("data", O_RDONLY)));
  auto* may = static_cast<char*>(OK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, both, 0)));
  auto* may_not = static_cast<char*>(OK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, reading, 0)));

  checkpoint_here();

  EXPECT_EQ(mprotect(may, 4096, PROT_READ | PROT_WRITE), 0);
  EXPECT_ERRNO(mprotect(may_not, 4096, PROT_READ | PROT_WRITE), EACCES);
  may[7] = 'm';
  EXPECT_EQ(may_not[7], 'm');
}
