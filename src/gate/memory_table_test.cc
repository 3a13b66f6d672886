// SPDX-License-Identifier: Apache-2.0
#include "gate/memory_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <new>

namespace crs {
namespace {

// A piece of a program's address space that holds a table, and nothing around it.
class Program {
 public:
  static constexpr std::uint64_t address = 0x7000'0000'0000;

  explicit Program(std::uint32_t capacity) : bytes_((capacity + std::size_t{1}) * sizeof(MemoryRow)) {
    table() = MemoryTableImage{};
    table().capacity = capacity;
  }
  // As libcrs has it in memory, but plain.
  struct MemoryTableImage {
    std::uint64_t magic = memory_table_magic;
    std::uint32_t rows = 0, capacity = 0;
    std::uint64_t last_id = 0;
    std::uint32_t next_unused = 0, reserved[25] = {};
  };
  struct Row {
    std::uint32_t use = 1, next_unused = 0;
    std::uint64_t id = 1, start = 0x10000, bytes = 0x2000, rebuild = 0, context = 0;
    char label[80] = "label";
  };
  MemoryTableImage& table() { return *reinterpret_cast<MemoryTableImage*>(bytes_.data()); }
  Row& row(std::size_t index) {
    return *reinterpret_cast<Row*>(bytes_.data() + (index + 1) * sizeof(MemoryRow));
  }
  Row& add(const Row& row_given) {
    Row& added = row(table().rows++);
    added = row_given;
    return added;
  }
  ProcessMemory memory() const {
    return [this](RemoteAddr from, std::span<std::byte> out) -> Status {
      if (from.v < address || from.v - address > bytes_.size() ||
          out.size() > bytes_.size() - (from.v - address))
        return Error(Errc::kernel, "nothing is mapped there");
      std::memcpy(out.data(), bytes_.data() + (from.v - address), out.size());
      return ok();
    };
  }
  auto read() const { return read_memory_table(address, memory()); }

 private:
  std::vector<std::byte> bytes_;
};

TEST(MemoryTable, TellsItsRowsAndThatItMustBeSavedItself) {
  Program program(700);
  for (std::uint64_t id = 600; id > 0; --id) {
    Program::Row row;
    row.id = id;
    row.start = id * 0x10000;
    if (id == 7) row.rebuild = 0x1234;
    if (id == 8) row.use = 2;
    if (id % 100 == 0) row.use = 0;
    program.add(row);
  }
  const auto wishes = program.read();
  ASSERT_TRUE(wishes);
  ASSERT_EQ(wishes->size(), 595u);  // 594, and the table
  EXPECT_EQ(wishes->at(0).id, 1u);
  EXPECT_EQ(wishes->at(6).id, 7u);
  EXPECT_TRUE(wishes->at(6).rebuilt);
  EXPECT_EQ(wishes->at(7).use, MemoryUse::include);
  EXPECT_FALSE(wishes->at(7).rebuilt);
  EXPECT_EQ(wishes->at(0).start, 0x10000u);
  EXPECT_EQ(wishes->at(0).end, 0x12000u);
  EXPECT_EQ(wishes->back().use, MemoryUse::include);
  EXPECT_EQ(wishes->back().start, Program::address);
  EXPECT_EQ(wishes->back().end, Program::address + 701 * sizeof(MemoryRow));
}

TEST(MemoryTable, OneWithoutRowsLeavesNothingOut) {
  Program program(4);
  const auto wishes = program.read();
  ASSERT_TRUE(wishes);
  EXPECT_TRUE(wishes->empty());
}

TEST(MemoryTable, ALabelWithoutAnEndIsCut) {
  Program program(4);
  std::memset(program.add({}).label, 'x', sizeof(Program::Row::label));
  const auto wishes = program.read();
  ASSERT_TRUE(wishes);
  EXPECT_EQ(wishes->at(0).label, std::string(80, 'x'));
}

TEST(MemoryTable, BelievesNothing) {
  struct Case {
    const char* what;
    std::function<void(Program&)> damage;
  };
  const Case cases[] = {
      {"magic", [](Program& p) { p.table().magic ^= 1; }},
      {"more rows than there is room for", [](Program& p) { p.table().rows = 5; }},
      {"more rows than are allowed",
       [](Program& p) { p.table().rows = p.table().capacity = max_memory_rows + 1; }},
      {"rows where nothing is mapped", [](Program& p) { p.table().rows = p.table().capacity = 4000; }},
      {"an unknown use", [](Program& p) { p.row(0).use = 3; }},
      {"no bytes", [](Program& p) { p.row(0).bytes = 0; }},
      {"a start in the kernel", [](Program& p) { p.row(0).start = 0xffff'8000'0000'0000; }},
      {"an end that wraps around", [](Program& p) { p.row(0).bytes = ~std::uint64_t{0} - 0x8000; }},
      {"an end in the kernel", [](Program& p) { p.row(0).bytes = 0x7fff'ffff'f000; }},
  };
  for (const Case& each : cases) {
    Program program(4);
    program.add({});
    program.add({});
    each.damage(program);
    EXPECT_FALSE(program.read()) << each.what;
  }
  Program program(4);
  program.add({});
  EXPECT_FALSE(read_memory_table(Program::address + 8, program.memory()));
  EXPECT_FALSE(read_memory_table(~std::uint64_t{0xfff}, program.memory()));
  EXPECT_FALSE(read_memory_table(0x1000, program.memory()));
}

TEST(MemoryTable, WhatNobodyIsReadyToRebuildIsSaved) {
  Program program(4);
  program.add({});
  Program::Row rebuilt;
  rebuilt.rebuild = 0x4000;
  rebuilt.id = 2;
  program.add(rebuilt);
  const auto page = std::make_unique<ControlPage>();
  EXPECT_TRUE(memory_wishes(*page, program.memory()).wishes.empty());
  page->memory.store(Program::address);
  auto wishes = memory_wishes(*page, program.memory());
  EXPECT_EQ(wishes.wishes.size(), 2u);  // one row, and the table
  EXPECT_EQ(wishes.rebuilder.v, 0);
  EXPECT_EQ(wishes.notes.size(), 1u);
  page->rebuilder.store(77);
  EXPECT_EQ(memory_wishes(*page, program.memory()).wishes.size(), 2u);
  page->turn.store(static_cast<std::uint32_t>(Turn::prepared));
  wishes = memory_wishes(*page, program.memory());
  EXPECT_EQ(wishes.wishes.size(), 3u);
  EXPECT_EQ(wishes.rebuilder.v, 77);
  EXPECT_TRUE(wishes.notes.empty());
  program.row(1).use = 0;
  EXPECT_EQ(memory_wishes(*page, program.memory()).rebuilder.v, 0);
  program.row(0).bytes = 0;
  wishes = memory_wishes(*page, program.memory());
  EXPECT_TRUE(wishes.wishes.empty());
  EXPECT_EQ(wishes.notes.size(), 1u);
}

}  // namespace
}  // namespace crs
