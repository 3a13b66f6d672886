// SPDX-License-Identifier: Apache-2.0
#include "engine/page_ranges.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace crs {
namespace {

using Ranges = std::vector<PageRange>;

std::string text(const Ranges& ranges) {
  std::string all;
  for (const PageRange& range : ranges)
    all += std::to_string(range.start) + "-" + std::to_string(range.end) + " ";
  return all;
}

TEST(PageRanges, AreSortedAndJoined) {
  EXPECT_EQ(text(united({{8, 9}, {1, 3}, {3, 4}, {2, 2}, {7, 6}, {0, 2}, {8, 12}})), "0-4 8-12 ");
  EXPECT_EQ(text(united({})), "");
}

TEST(PageRanges, OfBytesAreThePagesInThemOrThoseThatTheyTouch) {
  EXPECT_EQ(text(whole_pages({{1, 4096}, {4097, 12288}})), "8192-12288 ");
  EXPECT_EQ(text(whole_pages({{0, 4096}, {4096, 4097}})), "0-4096 ");
  EXPECT_EQ(text(touched_pages({{4095, 4097}})), "0-8192 ");
}

TEST(PageRanges, AgreeWithSetsOfPoints) {
  std::minstd_rand random(20261128);
  const auto any = [&] {
    Ranges ranges;
    for (std::size_t left = random() % 8; left > 0; --left) {
      const std::uint64_t start = random() % 60;
      ranges.push_back({start, start + random() % 12});
    }
    return united(ranges);
  };
  const auto has = [](const Ranges& ranges, std::uint64_t at) {
    for (const PageRange& range : ranges) {
      if (at >= range.start && at < range.end) return true;
    }
    return false;
  };
  for (int round = 0; round < 2000; ++round) {
    const Ranges a = any(), b = any();
    const Ranges both = common(a, b), only = without(a, b);
    const std::uint64_t start = random() % 40, end = start + random() % 40;
    EXPECT_EQ(text(within(a, start, end)), text(common(a, united({{start, end}}))));
    std::uint64_t points = 0;
    for (std::uint64_t at = 0; at < 80; ++at) {
      ASSERT_EQ(has(both, at), has(a, at) && has(b, at)) << text(a) << "and " << text(b);
      ASSERT_EQ(has(only, at), has(a, at) && !has(b, at)) << text(a) << "less " << text(b);
      points += has(a, at) ? 1 : 0;
    }
    ASSERT_EQ(size_of(a), points);
    ASSERT_EQ(text(united(both)), text(both));
    ASSERT_EQ(text(united(only)), text(only));
  }
}

}  // namespace
}  // namespace crs
