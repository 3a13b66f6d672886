// SPDX-License-Identifier: Apache-2.0
// growing BEATS DELAY_MS: grows its break by 1 MiB a beat, checks all of it and asks the vdso for the time,
// then writes "beat N" to stdout. Exit status 0 when all was right; a wrong byte, break or clock has its own
// number.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const int beats = atoi(argv[1]);
  const int delay = atoi(argv[2]);
  constexpr int mebibyte = 1 << 20;
  // By sbrk(2) alone: malloc would take the break, too, so nothing here allocates.
  static char output[64];
  auto* start = static_cast<char*>(sbrk(0));
  struct timespec before = {};
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (int beat = 1; beat <= beats; beat++) {
    auto* fresh = static_cast<char*>(sbrk(mebibyte));
    if (fresh != start + (beat - 1) * static_cast<long>(mebibyte)) return 3;
    memset(fresh, beat, mebibyte);
    for (int old = 1; old <= beat; old++) {
      const char* block = start + (old - 1) * static_cast<long>(mebibyte);
      if (block[0] != static_cast<char>(old) || block[mebibyte - 1] != static_cast<char>(old)) return 4;
    }
    struct timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec < before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_nsec < before.tv_nsec)) return 5;
    before = now;
    const int length = snprintf(output, sizeof output, "beat %d\n", beat);
    if (write(STDOUT_FILENO, output, static_cast<size_t>(length)) != length) return 6;
    struct timespec pause = {0, delay * 1000000L};
    if (nanosleep(&pause, nullptr) != 0) return 7;
  }
  return 0;
}
