// compiler: g++
// flags: -std=c++20 -fopenmp
// timeout: 40
#include "tests/target.h"

#include <omp.h>

// The pool of threads sits in the library's barrier at the first checkpoint and is used again after it; the
// second checkpoint falls into a parallel region.
static long sum_of_squares(int threads) {
  long sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(dynamic, 100)
  for (long i = 0; i < 200000; i++) sum += i % 1000 * (i % 1000);
  return sum;
}

TARGET() {
  long wanted = sum_of_squares(1);
  EXPECT_EQ(sum_of_squares(4), wanted);

  checkpoint_here();

  EXPECT_EQ(sum_of_squares(4), wanted);
  int good = 0;
#pragma omp parallel num_threads(4) reduction(+ : good)
  {
    if (omp_get_thread_num() == 0) checkpoint_here();
#pragma omp barrier
    good += 1;
  }
  EXPECT_EQ(good, 4);
  EXPECT_EQ(sum_of_squares(4), wanted);
}
