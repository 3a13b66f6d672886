// SPDX-License-Identifier: Apache-2.0
// memory MEBIBYTES [random|zero]: fills memory, writes "ready" to stdout, then adds one line a second to it;
// at SIGTERM it checks every byte and exits with 0 (right), 1 (wrong).
#include <sys/mman.h>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

static volatile sig_atomic_t asked_to_end;

static uint64_t next(uint64_t& state) {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const size_t words = (strtoull(argv[1], nullptr, 10) << 20) / 8;
  const bool zero = argc > 2 && strcmp(argv[2], "zero") == 0;
  void* memory = mmap(nullptr, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 3;
  auto* data = static_cast<uint64_t*>(memory);
  uint64_t state = 88172645463325252u;
  for (size_t i = 0; i < words; i++) data[i] = zero ? 0 : next(state);
  signal(SIGTERM, [](int) { asked_to_end = 1; });
  printf("ready\n");
  fflush(stdout);
  while (!asked_to_end) {
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, nullptr);
  }
  state = 88172645463325252u;
  for (size_t i = 0; i < words; i++) {
    if (data[i] != (zero ? 0 : next(state))) return 1;
  }
  return 0;
}
