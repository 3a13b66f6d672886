// SPDX-License-Identifier: Apache-2.0
#include "gate/memory_table.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "gate/program_text.h"

namespace crs {
namespace {

constexpr std::uint64_t user_space_end = 0x7ffffffff000;
constexpr std::size_t rows_at_a_time = 512;

// A row as it lies in memory, without the atomics.
struct RawRow {
  std::uint32_t use, next_unused;
  std::uint64_t id, start, bytes, rebuild, context;
  char label[80];
};
static_assert(sizeof(RawRow) == sizeof(MemoryRow));
struct RawTable {
  std::uint64_t magic;
  std::uint32_t rows, capacity;
  std::uint64_t last_id;
  std::uint32_t next_unused, reserved[25];
};
static_assert(sizeof(RawTable) == sizeof(MemoryTable));

Error damaged(const char* what) {
  return Error(Errc::bad_snapshot, std::string("the program's table of memory regions is damaged: ") + what);
}

Status add_row(const RawRow& row, std::vector<MemoryWish>& wishes) {
  if (row.use == static_cast<std::uint32_t>(MemoryUse::unused)) return ok();
  if (row.use > static_cast<std::uint32_t>(MemoryUse::include)) return damaged("an unknown kind of row");
  if (row.bytes == 0 || row.start >= user_space_end || row.bytes > user_space_end - row.start)
    return damaged("an impossible range");
  MemoryWish wish;
  wish.use = static_cast<MemoryUse>(row.use);
  wish.id = row.id;
  wish.start = row.start;
  wish.end = row.start + row.bytes;
  wish.label = program_text(row.label);
  wish.rebuilt = wish.use == MemoryUse::exclude && row.rebuild != 0;
  wishes.push_back(std::move(wish));
  return ok();
}

}  // namespace

Result<std::vector<MemoryWish>> read_memory_table(std::uint64_t address, const ProcessMemory& read) {
  RawTable table{};
  if (address % page_size != 0 || address >= user_space_end) return damaged("an impossible address");
  CRS_CHECK(read(RemoteAddr(address), std::as_writable_bytes(std::span(&table, 1))));
  if (table.magic != memory_table_magic) return damaged("it does not begin as one");
  if (table.rows > table.capacity || table.capacity > max_memory_rows) return damaged("too many rows");
  const std::uint64_t size = (std::uint64_t{table.capacity} + 1) * sizeof(RawRow);
  if (size > user_space_end - address) return damaged("it reaches out of the address space");
  std::vector<MemoryWish> wishes;
  std::vector<RawRow> rows(std::min<std::size_t>(table.rows, rows_at_a_time));
  for (std::uint32_t from = 0; from < table.rows;) {
    const auto some = std::span(rows).first(std::min<std::size_t>(table.rows - from, rows.size()));
    const std::uint64_t at = address + (std::uint64_t{from} + 1) * sizeof(RawRow);
    CRS_CHECK(read(RemoteAddr(at), std::as_writable_bytes(some)));
    for (const RawRow& row : some) CRS_CHECK(add_row(row, wishes));
    from += static_cast<std::uint32_t>(some.size());
  }
  std::ranges::sort(wishes, {}, &MemoryWish::id);
  // Without it the restored process would know its own regions no more.
  if (!wishes.empty())
    wishes.push_back({MemoryUse::include, 0, address, address + size, "the table of these regions", false});
  return wishes;
}

MemoryWishes memory_wishes(const ControlPage& page, const ProcessMemory& read) {
  MemoryWishes all;
  const std::uint64_t address = page.memory.load();
  if (address == 0) return all;
  auto wishes = read_memory_table(address, read);
  if (!wishes) {
    all.notes.push_back(wishes.error().to_string() + "; so nothing is left out");
    return all;
  }
  all.wishes = std::move(*wishes);
  const auto rebuilt = [](const MemoryWish& wish) { return wish.rebuilt; };
  const std::int32_t rebuilder = page.rebuilder.load();
  if (rebuilder > 0 && turn_of(page) == Turn::prepared) {
    if (std::ranges::any_of(all.wishes, rebuilt)) all.rebuilder = NsPid(rebuilder);
  } else if (std::erase_if(all.wishes, rebuilt) != 0) {
    all.notes.emplace_back(
        "memory that the program would rebuild is saved as well: no thread of it is ready to do that (a "
        "forked "
        "child's is after its crs_init())");
  }
  return all;
}

}  // namespace crs
