// SPDX-License-Identifier: Apache-2.0
// endure BEATS: a process that notices any harm done to it, until a file "stop" appears in its directory.
//
//   two threads compute in vector registers (AVX2 or AVX-512 where the processor has them) and check each
//   result two threads sleep and note any sleep that ends early or with an error one thread waits for a futex
//   with a limit; one makes cheap system calls and checks the answers
// BEATS is a file of one 64-bit number that goes up while all is well. Exit status: 0 well, 1 harmed (stderr
// says how).
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

namespace {

std::atomic<bool> stop;
std::atomic<int> harmed;
std::atomic<uint64_t>* beats;

void report(const char* what, long value) {
  fprintf(stderr, "%s (%ld, errno %d)\n", what, value, errno);
  fflush(stderr);
  harmed++;
}

int64_t now_ns() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

// The same sum twice over: once in vector registers (all sums stay in one register), once with plain numbers.
using Four = uint64_t __attribute__((vector_size(32)));
using Eight = uint64_t __attribute__((vector_size(64)));

__attribute__((target("avx2"))) uint64_t sum_avx2(uint64_t seed) {
  Four lanes = {seed, seed + 1, seed + 2, seed + 3};
  for (int i = 0; i < 20000; i++) {
    lanes = (lanes ^ (lanes << 7)) + 0x9e3779b9;
    asm volatile("" : "+x"(lanes));
  }
  return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3];
}

__attribute__((target("avx512f"))) uint64_t sum_avx512(uint64_t seed) {
  Eight lanes = {seed, seed + 1, seed + 2, seed + 3, 0, 0, 0, 0};
  for (int i = 0; i < 20000; i++) {
    lanes = (lanes ^ (lanes << 7)) + 0x9e3779b9;
    asm volatile("" : "+v"(lanes));
  }
  return lanes[0] ^ lanes[1] ^ lanes[2] ^ lanes[3];
}

uint64_t sum_plain(uint64_t seed) {
  uint64_t all = 0;
  for (uint64_t lane = 0; lane < 4; lane++) {
    uint64_t value = seed + lane;
    for (int i = 0; i < 20000; i++) {
      value = (value ^ (value << 7)) + 0x9e3779b9;
      asm volatile("" : "+r"(value));
    }
    all ^= value;
  }
  return all;
}

void* compute(void*) {
  const bool wide = __builtin_cpu_supports("avx512f");
  const bool avx2 = __builtin_cpu_supports("avx2");
  const uint64_t wanted = sum_plain(7);
  while (!stop) {
    const uint64_t got = wide ? sum_avx512(7) : avx2 ? sum_avx2(7) : sum_plain(7);
    if (got != wanted) report("a wrong sum", static_cast<long>(got));
    beats->fetch_add(1);
  }
  return nullptr;
}

void* rest(void* argument) {
  const long ms = reinterpret_cast<long>(argument);
  while (!stop) {
    struct timespec asked = {0, ms * 1000000};
    const int64_t start = now_ns();
    const int result = nanosleep(&asked, nullptr);
    if (result != 0) report("a sleep ended with an error", result);
    if (now_ns() - start < ms * 1000000) report("a sleep ended early", now_ns() - start);
    const int64_t second = now_ns();
    const int ready = poll(nullptr, 0, static_cast<int>(ms));
    if (ready != 0) report("a poll ended with an error", ready);
    if (now_ns() - second < ms * 1000000) report("a poll ended early", now_ns() - second);
  }
  return nullptr;
}

void* wait_on_futex(void*) {
  static int word = 3;
  while (!stop) {
    struct timespec limit = {0, 30000000};
    const int64_t start = now_ns();
    errno = 0;
    const long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 3, &limit, nullptr, 0);
    if (result != -1 || errno != ETIMEDOUT)
      report("a futex wait ended with something else than its limit", result);
    if (now_ns() - start < 30000000) report("a futex wait ended early", now_ns() - start);
  }
  return nullptr;
}

void* ask(void*) {
  const long tid = syscall(SYS_gettid);
  while (!stop) {
    const long got = syscall(SYS_gettid);
    if (got != tid) report("a wrong thread id", got);
    errno = 0;
    const ssize_t bad = read(-1, nullptr, 0);
    if (bad != -1 || errno != EBADF) report("read(-1) answered", bad);
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const int fd = open(argv[1], O_RDWR | O_CREAT, 0644);
  if (fd < 0 || ftruncate(fd, 4096) != 0) return 3;
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return 3;
  close(fd);
  beats = static_cast<std::atomic<uint64_t>*>(page);
  pthread_t threads[6];
  void* (*const bodies[])(void*) = {compute, compute, rest, rest, wait_on_futex, ask};
  for (long i = 0; i < 6; i++)
    if (pthread_create(&threads[i], nullptr, bodies[i], reinterpret_cast<void*>(i == 2 ? 5 : 40)) != 0)
      return 3;
  while (access("stop", F_OK) != 0) {
    struct timespec pause = {0, 5000000};
    if (nanosleep(&pause, nullptr) != 0) report("the main thread's sleep ended with an error", 0);
  }
  stop = true;
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  return harmed == 0 ? 0 : 1;
}
