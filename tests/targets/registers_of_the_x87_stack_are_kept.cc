#include "tests/target.h"

static volatile int stop;
static volatile int spinning;

// Eight values stay on the x87 register stack over the checkpoint; flags and direction flag as well.
static long double held_sum() {
  long double out[8] = {};
  unsigned short status = 0;
  asm volatile(
      "fninit\n"
      "fld1\nfldpi\nfldl2e\nfldl2t\nfldlg2\nfldln2\nfldz\nfld1\n"
      "lock incl %[spinning]\n"
      "1: pause\ncmpl $0, %[stop]\nje 1b\n"
      "fnstsw %[status]\n"
      "fstpt (%[out])\nfstpt 16(%[out])\nfstpt 32(%[out])\nfstpt 48(%[out])\n"
      "fstpt 64(%[out])\nfstpt 80(%[out])\nfstpt 96(%[out])\nfstpt 112(%[out])\n"
      : [stop] "+m"(stop), [spinning] "+m"(spinning), [status] "=m"(status)
      : [out] "r"(out)
      : "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
  long double sum = 0;
  for (int i = 0; i < 8; i++) sum += out[i] * (i + 1);
  return sum + status;
}

TARGET() {
  stop = 1;
  long double wanted = held_sum();
  stop = 0;
  spinning = 0;
  static long double got;
  TargetThread thread([] { got = held_sum(); });
  AWAIT(spinning == 1);

  checkpoint_here();

  stop = 1;
  thread.join();
  EXPECT(got == wanted);
}
