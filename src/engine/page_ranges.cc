// SPDX-License-Identifier: Apache-2.0
#include "engine/page_ranges.h"

#include <algorithm>

#include "os/ids.h"

namespace crs {

void append(std::vector<PageRange>& set, std::uint64_t start, std::uint64_t end) {
  if (!set.empty() && set.back().end == start) {
    set.back().end = end;
  } else {
    set.push_back({start, end});
  }
}

std::vector<PageRange> united(std::vector<PageRange> ranges) {
  std::erase_if(ranges, [](const PageRange& range) { return range.start >= range.end; });
  std::ranges::sort(ranges, {}, &PageRange::start);
  std::vector<PageRange> all;
  for (const PageRange& range : ranges) {
    if (!all.empty() && range.start <= all.back().end) {
      all.back().end = std::max(all.back().end, range.end);
    } else {
      all.push_back(range);
    }
  }
  return all;
}

std::vector<PageRange> common(const std::vector<PageRange>& a, const std::vector<PageRange>& b) {
  std::vector<PageRange> both;
  for (std::size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    const PageRange range{std::max(a[i].start, b[k].start), std::min(a[i].end, b[k].end)};
    if (range.start < range.end) both.push_back(range);
    (a[i].end < b[k].end ? i : k)++;
  }
  return both;
}

std::vector<PageRange> without(const std::vector<PageRange>& a, const std::vector<PageRange>& b) {
  std::vector<PageRange> left;
  std::size_t k = 0;
  for (PageRange range : a) {
    while (k < b.size() && b[k].end <= range.start) ++k;
    for (std::size_t at = k; at < b.size() && b[at].start < range.end; ++at) {
      if (b[at].start > range.start) left.push_back({range.start, b[at].start});
      range.start = std::min(range.end, b[at].end);
    }
    if (range.start < range.end) left.push_back(range);
  }
  return left;
}

std::vector<PageRange> within(const std::vector<PageRange>& set, std::uint64_t start, std::uint64_t end) {
  std::vector<PageRange> inside;
  if (start >= end) return inside;
  for (auto at = std::ranges::upper_bound(set, start, {}, &PageRange::end);
       at != set.end() && at->start < end; ++at)
    inside.push_back({std::max(at->start, start), std::min(at->end, end)});
  return inside;
}

std::vector<PageRange> whole_pages(std::vector<PageRange> bytes) {
  for (PageRange& range : bytes) range = {page_up(range.start), page_down(range.end)};
  return united(std::move(bytes));
}

std::vector<PageRange> touched_pages(std::vector<PageRange> bytes) {
  for (PageRange& range : bytes) range = {page_down(range.start), page_up(range.end)};
  return united(std::move(bytes));
}

std::uint64_t size_of(const std::vector<PageRange>& ranges) {
  std::uint64_t sum = 0;
  for (const PageRange& range : ranges) sum += range.end - range.start;
  return sum;
}

}  // namespace crs
