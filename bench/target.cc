// SPDX-License-Identifier: Apache-2.0
// target: the program that is checkpointed. It holds memory and watches the clock for the moments it did not
// run.
//
// usage: target SIZE_MIB PATTERN THREADS REPORT_FILE
//
// What this file knows
//   The report is a shared mapping of REPORT_FILE, which run.py maps too: a look at it disturbs nobody, and
//   it goes on to work in the restored process. The main thread reads CLOCK_REALTIME in a loop; the largest
//   step it saw is the longest time that the program stood still, and the moment after it is the first tick
//   after a restore. The other threads sleep, wake up every few milliseconds and write to a page of their
//   own.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "patterns.h"

namespace {

// run.py has the same table (REPORT).
struct Report {
  std::atomic<std::uint64_t> ready;        // 1: memory is filled
  std::atomic<std::uint64_t> largest_gap;  // ns; run.py sets it to 0 to start afresh
  std::atomic<std::uint64_t> gap_end;      // CLOCK_REALTIME ns, when the largest gap ended
  std::atomic<std::uint64_t> ticks;
  std::atomic<std::uint64_t> verify;  // run.py sets 1; 2: the memory is as it was filled, 3: it is not
};
static_assert(sizeof(Report) == 40);

std::uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

std::uint64_t sum(const unsigned char* memory, std::size_t size, std::size_t step) {
  std::uint64_t result = 0;
  for (std::size_t at = 0; at < size; at += step) {
    for (std::size_t i = 0; i < bench::page_size; i += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, memory + at + i, sizeof word);
      result = result * 31 + word;
    }
  }
  return result;
}

Report* map_report(const char* path) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  void* mapped = mmap(nullptr, bench::page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd < 0 || mapped == MAP_FAILED) {
    std::perror(path);
    std::exit(1);
  }
  close(fd);
  return static_cast<Report*>(mapped);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: target SIZE_MIB PATTERN THREADS REPORT_FILE\n");
    return 2;
  }
  const std::size_t size = std::stoull(argv[1]) << 20;
  const std::string pattern = argv[2];
  Report& report = *map_report(argv[4]);

  const unsigned char* memory = bench::make_memory(size, pattern);
  const std::size_t step = pattern == "sparse" ? 16 * bench::page_size : bench::page_size;
  const std::uint64_t expected = sum(memory, size, step);

  std::vector<std::thread> threads;
  for (int i = 1; i < std::stoi(argv[3]); ++i) {
    threads.emplace_back([] {
      std::vector<unsigned char> own(bench::page_size);
      for (std::size_t round = 0;; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        own[round % own.size()] = static_cast<unsigned char>(round);
      }
    });
  }

  report.ready = 1;
  std::uint64_t last = now();
  for (;;) {
    const std::uint64_t time = now();
    if (time - last > report.largest_gap.load(std::memory_order_relaxed)) {
      report.gap_end.store(time, std::memory_order_relaxed);
      report.largest_gap.store(time - last, std::memory_order_release);
    }
    last = time;
    report.ticks.fetch_add(1, std::memory_order_relaxed);
    if (report.verify.load(std::memory_order_relaxed) == 1) {
      report.verify = sum(memory, size, step) == expected ? 2 : 3;
      last = now();
    }
  }
}
