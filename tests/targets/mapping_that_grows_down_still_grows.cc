#include "tests/target.h"

TARGET() {
  // Room is found first: a mapping that grows down needs free addresses below it (and a gap of 256 pages).
  constexpr size_t room = 8u << 20;
  auto* area = static_cast<char*>(OK(mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  OK(munmap(area, room));
  char* top = area + room;
  OK(mmap(top - 4 * 4096, 4 * 4096, PROT_READ | PROT_WRITE,
          MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0));
  memset(top - 4 * 4096, 'g', 4 * 4096);
  top[-5 * 4096] = 'h';  // grown once already

  checkpoint_here();

  EXPECT_EQ(top[-1], 'g');
  EXPECT_EQ(top[-4 * 4096], 'g');
  EXPECT_EQ(top[-5 * 4096], 'h');
  top[-6 * 4096] = 'i';
  top[-7 * 4096] = 'j';
  EXPECT_EQ(top[-6 * 4096], 'i');
}
