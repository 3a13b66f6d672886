// SPDX-License-Identifier: Apache-2.0
// floor: what the machine itself needs for the same bytes; no checkpointer that copies all of them can be
// faster.
//
// usage: floor SIZE_MIB PATTERN FILE
// Prints JSON: nanoseconds for memcpy(3) into fresh memory, for write(2) + fsync(2) of the pages that are
// present into FILE, for write(2) alone, and for read(2) of it into fresh memory (from the page cache); each
// by one thread.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "patterns.h"

namespace {

template <class Work>
long long nanoseconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start)
      .count();
}

void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

unsigned char* fresh_memory(std::size_t size) {
  void* mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) fail("mmap");
  madvise(mapped, size, MADV_NOHUGEPAGE);
  return static_cast<unsigned char*>(mapped);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: floor SIZE_MIB PATTERN FILE\n");
    return 2;
  }
  const std::size_t size = std::stoull(argv[1]) << 20;
  const std::string pattern = argv[2];
  const std::size_t step = pattern == "sparse" ? 16 * bench::page_size : std::size_t{1} << 20;
  const std::size_t piece = std::min(step, pattern == "sparse" ? bench::page_size : step);
  const unsigned char* memory = bench::make_memory(size, pattern);

  unsigned char* copy = fresh_memory(size);
  const auto copied = nanoseconds([&] {
    for (std::size_t at = 0; at < size; at += step) std::memcpy(copy + at, memory + at, piece);
  });
  munmap(copy, size);

  const int fd = open(argv[3], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) fail(argv[3]);
  std::size_t bytes = 0;
  const auto written = nanoseconds([&] {
    for (std::size_t at = 0; at < size; at += step, bytes += piece) {
      if (write(fd, memory + at, piece) != static_cast<ssize_t>(piece)) fail("write");
    }
  });
  const auto synced = nanoseconds([&] {
    if (fsync(fd) != 0) fail("fsync");
  });

  copy = fresh_memory(size);
  if (lseek(fd, 0, SEEK_SET) != 0) fail("lseek");
  const auto read_back = nanoseconds([&] {
    for (std::size_t at = 0; at < size; at += step) {
      if (read(fd, copy + at, piece) != static_cast<ssize_t>(piece)) fail("read");
    }
  });
  std::printf(
      "{\"bytes\": %zu, \"memcpy_ns\": %lld, \"write_ns\": %lld, \"write_fsync_ns\": %lld, \"read_ns\": "
      "%lld}\n",
      bytes, copied, written, written + synced, read_back);
  return unlink(argv[3]) == 0 ? 0 : 1;
}
