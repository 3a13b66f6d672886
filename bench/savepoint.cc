// SPDX-License-Identifier: Apache-2.0
// savepoint: how long a program waits for a save point, and for going back to it.
//
// usage: savepoint SIZE_MIB DIRTY_PERCENT ROUNDS REPORT_FILE
//
// What this file knows
//   It fills its memory, makes a save point, writes to so many of its pages, and goes back, ROUNDS times.
//   When it asked and how long it took lies in a shared mapping of REPORT_FILE, which no snapshot holds. At
//   the end it checks its memory and prints the medians, {"create_ns", "rollback_ns"}.
#include <crs/crs.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include "patterns.h"

namespace {

constexpr std::size_t most_rounds = 100;

struct Report {
  std::uint64_t rounds, asked_ns, create_ns;
  std::uint64_t rollback_ns[most_rounds];
};

std::uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

int fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, crs_last_error()->message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::size_t size = std::stoull(argv[1]) << 20, percent = std::stoull(argv[2]);
  const std::size_t rounds = std::min<std::size_t>(std::stoull(argv[3]), most_rounds);
  const int fd = open(argv[4], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Report)) != 0) return 3;
  auto* const report =
      static_cast<Report*>(mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  close(fd);
  auto* const memory = const_cast<unsigned char*>(bench::make_memory(size, "random"));
  if (report == MAP_FAILED || crs_init() != CRS_SUCCESS) return fail("init");
  const std::vector<unsigned char> before(memory, memory + std::min(size, bench::page_size));

  crs_savepoint* point = nullptr;
  crs_state state = CRS_NONE;
  report->asked_ns = now();
  if (crs_savepoint_create(&point, &state) != CRS_SUCCESS) return fail("create");
  const std::uint64_t took = now() - report->asked_ns;
  if (state == CRS_CONTINUE) {
    report->create_ns = took;
  } else {
    report->rollback_ns[report->rounds++] = took;
  }
  if (!std::equal(before.begin(), before.end(), memory)) return 4;
  if (report->rounds < rounds) {
    const std::size_t step = percent == 0 ? size : 100 / percent * bench::page_size;
    for (std::size_t at = 0; at < size; at += step) memory[at] ^= 1;
    report->asked_ns = now();
    crs_savepoint_rollback(point);
    return fail("rollback");
  }
  std::sort(report->rollback_ns, report->rollback_ns + rounds);
  std::printf("{\"create_ns\": %llu, \"rollback_ns\": %llu}\n",
              static_cast<unsigned long long>(report->create_ns),
              static_cast<unsigned long long>(report->rollback_ns[rounds / 2]));
  return crs_savepoint_release(point) == CRS_SUCCESS ? 0 : fail("release");
}
