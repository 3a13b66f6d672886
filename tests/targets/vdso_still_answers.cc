#include "tests/target.h"

#include <sys/auxv.h>
#include <sys/time.h>

TARGET() {
  unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
  struct timespec before;
  OK(clock_gettime(CLOCK_MONOTONIC, &before));

  checkpoint_here();

  struct timespec after;
  struct timeval of_day;
  OK(clock_gettime(CLOCK_MONOTONIC, &after));  // glibc goes through the vdso
  EXPECT_GE(after.tv_sec, before.tv_sec);
  struct timespec real;
  OK(clock_gettime(CLOCK_REALTIME, &real));
  OK(gettimeofday(&of_day, nullptr));
  EXPECT_LE(of_day.tv_sec - real.tv_sec, 1);
  unsigned cpu = ~0u;
  OK(getcpu(&cpu, nullptr));
  EXPECT_LE(cpu, 4096u);
  EXPECT_EQ(getauxval(AT_SYSINFO_EHDR), vdso);
  EXPECT_EQ(memcmp(reinterpret_cast<void*>(vdso), "\177ELF", 4), 0);
}
