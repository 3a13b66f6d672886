// outside-view: skip maps smaps
#include "tests/target.h"

TARGET() {
  OwnedFd zero(OK(open("/dev/zero", O_RDWR)));
  auto* own = static_cast<char*>(OK(mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0)));
  auto* shared = static_cast<char*>(OK(mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0)));
  own[4096] = 'o';
  shared[4096] = 's';

  checkpoint_here();

  EXPECT_EQ(own[4096], 'o');
  EXPECT_EQ(own[0], 0);
  EXPECT_EQ(shared[4096], 's');
  EXPECT_EQ(shared[0], 0);
}
