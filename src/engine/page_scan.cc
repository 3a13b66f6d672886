// SPDX-License-Identifier: Apache-2.0
#include "engine/page_scan.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

namespace crs {
namespace {

// include/uapi/linux/fs.h, newer than the C library's headers.
struct ScanArguments {
  std::uint64_t size, flags, start, end, walk_end, vector, vector_length, max_pages;
  std::uint64_t category_inverted, category_mask, category_any, return_mask;
};
struct ScanRegion {
  std::uint64_t start, end, categories;
};
constexpr unsigned long pagemap_scan = _IOWR('f', 16, ScanArguments);
constexpr std::uint64_t page_is_file = 1u << 2;
constexpr std::uint64_t page_is_present = 1u << 3;
constexpr std::uint64_t page_is_swapped = 1u << 4;
constexpr std::uint64_t page_is_zero = 1u << 5;
constexpr std::uint64_t page_is_guard = 1u << 8;

constexpr std::uint64_t entry_present = 1ull << 63;
constexpr std::uint64_t entry_swapped = 1ull << 62;
constexpr std::uint64_t entry_file = 1ull << 61;

Result<std::vector<PageRange>> scan(int pagemap, std::uint64_t start, std::uint64_t end,
                                    ScanArguments arguments) {
  std::vector<PageRange> ranges;
  std::vector<ScanRegion> regions(1024);
  arguments.size = sizeof arguments;
  arguments.vector = reinterpret_cast<std::uint64_t>(regions.data());
  arguments.vector_length = regions.size();
  while (start < end) {
    arguments.start = start;
    arguments.end = end;
    arguments.walk_end = 0;
    const int found = ioctl(pagemap, pagemap_scan, &arguments);
    if (found < 0) return Error::from_errno(errno, "PAGEMAP_SCAN");
    for (int i = 0; i < found; ++i)
      append(ranges, regions[static_cast<std::size_t>(i)].start, regions[static_cast<std::size_t>(i)].end);
    // The kernel walks in steps, and where the vector is full just at the end of one, walk_end still is that
    // step's beginning although its regions are told (do_pagemap_scan, fs/proc/task_mmu.c; Linux 6.18).
    std::uint64_t next = arguments.walk_end;
    if (found > 0) next = std::max(next, regions[static_cast<std::size_t>(found) - 1].end);
    if (next <= start) return Error(Errc::kernel, "PAGEMAP_SCAN does not get on");
    if (arguments.max_pages != 0 && !ranges.empty()) break;
    start = next;
  }
  return ranges;
}

Result<std::vector<PageRange>> read_entries(int pagemap, std::uint64_t start, std::uint64_t end) {
  std::vector<PageRange> ranges;
  std::vector<std::uint64_t> entries(8192);
  for (std::uint64_t at = start; at < end;) {
    const std::uint64_t count = std::min<std::uint64_t>(entries.size(), (end - at) / page_size);
    CRS_CHECK(pread_exact(pagemap, std::as_writable_bytes(std::span(entries).first(count)),
                          at / page_size * 8, "pagemap"));
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t page = at + i * page_size;
      const bool own = (entries[i] & (entry_present | entry_swapped)) != 0 && (entries[i] & entry_file) == 0;
      if (own) append(ranges, page, page + page_size);
    }
    at += count * page_size;
  }
  return ranges;
}

}  // namespace

Result<PageScanner> PageScanner::open(const ProcDir& proc) {
  CRS_TRY(OwnedFd pagemap, proc.open_entry("pagemap", O_RDONLY));
  return PageScanner(std::move(pagemap));
}

namespace {

Result<std::vector<PageRange>> scan_own(int pagemap, std::uint64_t start, std::uint64_t end,
                                        std::uint64_t most) {
  ScanArguments arguments{};
  arguments.category_mask = page_is_file | page_is_zero | page_is_guard;
  arguments.category_inverted = arguments.category_mask;
  arguments.category_any = page_is_present | page_is_swapped;
  arguments.return_mask = page_is_present;
  arguments.max_pages = most;
  auto ranges = scan(pagemap, start, end, arguments);
  if (!ranges && ranges.error().error_number() == EINVAL) {  // a kernel that knows no guard regions
    arguments.category_mask = arguments.category_inverted = page_is_file | page_is_zero;
    ranges = scan(pagemap, start, end, arguments);
  }
  if (!ranges && ranges.error().error_number() == ENOTTY) return read_entries(pagemap, start, end);
  return ranges;
}

}  // namespace

Result<std::vector<PageRange>> PageScanner::own_pages(std::uint64_t start, std::uint64_t end) const {
  return scan_own(pagemap_.get(), start, end, 0);
}

Result<bool> PageScanner::has_own_pages(std::uint64_t start, std::uint64_t end) const {
  CRS_TRY(const auto first, scan_own(pagemap_.get(), start, end, 1));
  return !first.empty();
}

Result<std::vector<PageRange>> PageScanner::populated_pages(std::uint64_t start, std::uint64_t end) const {
  ScanArguments arguments{};
  arguments.category_any = page_is_present | page_is_swapped;
  arguments.return_mask = page_is_present;
  auto ranges = scan(pagemap_.get(), start, end, arguments);
  if (!ranges && ranges.error().error_number() == ENOTTY) return read_entries(pagemap_.get(), start, end);
  return ranges;
}

Result<std::vector<PageRange>> PageScanner::guard_pages(std::uint64_t start, std::uint64_t end) const {
  ScanArguments arguments{};
  arguments.category_mask = page_is_guard;
  arguments.return_mask = page_is_guard;
  auto ranges = scan(pagemap_.get(), start, end, arguments);
  if (!ranges && (ranges.error().error_number() == ENOTTY || ranges.error().error_number() == EINVAL)) {
    return std::vector<PageRange>();
  }
  return ranges;
}

}  // namespace crs
