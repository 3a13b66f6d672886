// SPDX-License-Identifier: Apache-2.0
#include "engine/left_out_memory.h"

#include <gtest/gtest.h>

#include <string>

namespace crs {
namespace {

constexpr std::uint64_t page = 4096;

std::string text(const std::vector<PageRange>& ranges) {
  std::string all;
  for (const PageRange& range : ranges)
    all += std::to_string(range.start / page) + "-" + std::to_string(range.end / page) + " ";
  return all;
}

Vma vma(std::uint64_t first, std::uint64_t end) {
  Vma made;
  made.start = first * page;
  made.end = end * page;
  made.name = "[heap]";
  return made;
}

MemoryWish exclude(std::uint64_t start, std::uint64_t end, const char* label = "scratch") {
  return {MemoryUse::exclude, 1, start, end, label, false};
}
MemoryWish include(std::uint64_t start, std::uint64_t end) {
  return {MemoryUse::include, 2, start, end, "kept", false};
}
std::vector<PageRange> pages(std::uint64_t first, std::uint64_t end) {
  return {{first * page, end * page}};
}

LeftOutMemory with(std::vector<MemoryWish> wishes, std::vector<LeftOutMemory::Need> needs = {}) {
  return LeftOutMemory({}, std::move(wishes), std::move(needs));
}

TEST(LeftOutMemory, LeavesOutWholePagesAndSavesTheEdges) {
  auto memory = with({exclude(2 * page + 1, 8 * page - 1)});
  EXPECT_EQ(text(memory.saved_of(vma(0, 10), false, pages(0, 10))), "0-3 7-10 ");
  EXPECT_EQ(memory.bytes(), 4 * page);
  EXPECT_EQ(text(with({exclude(2 * page + 1, 3 * page)}).saved_of(vma(0, 10), false, pages(0, 10))), "0-10 ");
}

TEST(LeftOutMemory, NeighboursThatShareAPageLeaveItOut) {
  auto memory = with({exclude(0, 2 * page + 100), exclude(2 * page + 100, 4 * page, "other")});
  EXPECT_EQ(text(memory.saved_of(vma(0, 5), false, pages(0, 5))), "4-5 ");
  state::MemoryMap map;
  Blockers blockers;
  memory.tell(map, blockers);
  ASSERT_EQ(map.left_out_size(), 2);
  EXPECT_EQ(map.left_out_bytes(), 4 * page);
  EXPECT_EQ(map.left_out(0).bytes() + map.left_out(1).bytes(), 4 * page);
}

TEST(LeftOutMemory, IncludedWinsRoundedOutwards) {
  auto memory = with({include(4 * page + 5, 5 * page + 5), exclude(0, 10 * page), exclude(page, 9 * page)});
  EXPECT_EQ(text(memory.saved_of(vma(0, 10), false, pages(0, 10))), "4-6 ");
  state::MemoryMap map;
  Blockers blockers;
  memory.tell(map, blockers);
  ASSERT_EQ(map.left_out_size(), 3);
  EXPECT_EQ(map.left_out(0).reason(), state::LeftOut::INCLUDED);
  EXPECT_EQ(map.left_out(0).bytes(), 2 * page);
  EXPECT_EQ(map.left_out(1).bytes(), 8 * page);
  EXPECT_EQ(map.left_out(2).bytes(), 6 * page);
  EXPECT_EQ(map.left_out_bytes(), 8 * page);
}

TEST(LeftOutMemory, CountsOnlyPagesThatHoldSomething) {
  auto memory = with({exclude(0, 100 * page)});
  EXPECT_EQ(text(memory.saved_of(vma(0, 100), false, {{page, 2 * page}, {5 * page, 7 * page}})), "");
  EXPECT_EQ(memory.bytes(), 3 * page);
}

TEST(LeftOutMemory, SavesTheStackThatAThreadStandsOn) {
  // Inside of what is excluded: from there on. Below it: an array on the stack may well be excluded.
  auto memory = with({exclude(10 * page, 20 * page)}, {{14 * page + 64, 128, 8u << 20, "thread 7"}});
  EXPECT_EQ(text(memory.saved_of(vma(0, 30), false, pages(0, 30))), "0-10 13-30 ");
  state::MemoryMap map;
  Blockers blockers;
  memory.tell(map, blockers);
  ASSERT_EQ(blockers.notes().size(), 1u);
  EXPECT_NE(blockers.notes()[0].find("'scratch' holds a stack that thread 7 uses"), std::string::npos);
  auto array = with({exclude(10 * page, 20 * page)}, {{9 * page, 128, 8u << 20, "thread 7"}});
  EXPECT_EQ(text(array.saved_of(vma(0, 30), false, pages(0, 30))), "0-10 20-30 ");
}

TEST(LeftOutMemory, SavesNoMoreOfALargeArenaThanAStack) {
  auto memory = with({exclude(0, 100'000 * page)}, {{10 * page, 0, 16 * page, "thread 7"}});
  EXPECT_EQ(text(memory.saved_of(vma(0, 100'000), false, pages(0, 100'000))), "10-26 ");
}

TEST(LeftOutMemory, MappingsOfNoCoreDumpOnlyOnRequestAndNotThoseOfThreads) {
  auto memory = with({});
  EXPECT_EQ(text(memory.saved_of(vma(0, 5), true, pages(0, 5))), "0-5 ");
  LeftOutMemory asked({.skip_dontdump = true, .ask = {}}, {include(page, 2 * page)}, {{25 * page, 0, 1, ""}});
  EXPECT_EQ(text(asked.saved_of(vma(0, 5), true, pages(0, 5))), "1-2 ");
  EXPECT_EQ(text(asked.saved_of(vma(10, 15), false, pages(10, 15))), "10-15 ");
  EXPECT_EQ(text(asked.saved_of(vma(20, 30), true, pages(20, 30))), "20-30 ");
  state::MemoryMap map;
  Blockers blockers;
  asked.tell(map, blockers);
  EXPECT_EQ(blockers.notes().size(), 1u);
  ASSERT_EQ(map.left_out_size(), 2);
  EXPECT_EQ(map.left_out(1).reason(), state::LeftOut::DONTDUMP);
  EXPECT_EQ(map.left_out(1).label(), "[heap]");
  EXPECT_EQ(map.left_out(1).bytes(), 4 * page);
}

}  // namespace
}  // namespace crs
