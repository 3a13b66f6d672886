// SPDX-License-Identifier: Apache-2.0
// Page ranges: sets of addresses, as ascending ranges that do not touch each other.
#pragma once

#include <cstdint>
#include <vector>

namespace crs {

struct PageRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  friend bool operator==(const PageRange&, const PageRange&) = default;
};

// Adds a range behind all others of a set.
void append(std::vector<PageRange>& set, std::uint64_t start, std::uint64_t end);

// Any ranges as such a set: sorted, those that overlap or touch made one, empty ones dropped.
std::vector<PageRange> united(std::vector<PageRange> ranges);
// Of sets.
std::vector<PageRange> common(const std::vector<PageRange>& a, const std::vector<PageRange>& b);
std::vector<PageRange> without(const std::vector<PageRange>& a, const std::vector<PageRange>& b);
// What of a set lies in [start, end); the set may be large.
std::vector<PageRange> within(const std::vector<PageRange>& set, std::uint64_t start, std::uint64_t end);
// The whole pages in a set of bytes, and the pages that hold any of one.
std::vector<PageRange> whole_pages(std::vector<PageRange> bytes);
std::vector<PageRange> touched_pages(std::vector<PageRange> bytes);
std::uint64_t size_of(const std::vector<PageRange>& ranges);  // bytes

}  // namespace crs
