#include "tests/target.h"

#include <setjmp.h>
#include <signal.h>

static sigjmp_buf back;
static volatile sig_atomic_t signal_seen;

static void on_signal(int number) {
  signal_seen = number;
  siglongjmp(back, 1);
}

TARGET() {
  signal(SIGBUS, on_signal);
  OwnedFd file(OK(open("data", O_RDWR | O_CREAT, 0600)));
  OK(write(file, "some bytes", 10));
  auto* shared =
      static_cast<volatile char*>(OK(mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)));
  auto* private_ =
      static_cast<volatile char*>(OK(mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)));
  private_[2] = 'M';
  private_[100] = 't';  // in the last page, behind the end of the file

  checkpoint_here();

  EXPECT_EQ(shared[0], 's');
  EXPECT_EQ(private_[2], 'M');
  EXPECT_EQ(private_[100], 't');
  EXPECT_EQ(shared[100], 0);
  if (sigsetjmp(back, 1) == 0) (void)shared[2 * 4096];
  EXPECT_EQ(signal_seen, SIGBUS);
  signal_seen = 0;
  if (sigsetjmp(back, 1) == 0) (void)private_[2 * 4096];
  EXPECT_EQ(signal_seen, SIGBUS);
  struct stat status = {};
  OK(fstat(file, &status));
  EXPECT_EQ(status.st_size, 10);
}
