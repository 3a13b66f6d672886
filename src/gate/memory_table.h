// SPDX-License-Identifier: Apache-2.0
// Memory table: which memory a program wants left out of its snapshots, as its libcrs tells checkpointers.
//
// What this file knows
//   The table lies in the memory of the program, and its address in the control page (control_page.h). It is
//   read while the process is frozen, perhaps in the middle of a change. So every change is one store: a row
//   counts from the store of its `use` on, which comes last, and a table that was full is copied into a
//   larger one before the word in the page leads there. Its memory may be anything: whoever reads it believes
//   nothing, and where something is wrong with it everything is saved.
//   A row with a function that rebuilds the memory counts only if a thread of libcrs stands ready to call it:
//   it has said "prepared" in its turn. Else what the row names is saved like all other memory.
// What it leaves to others
//   Writing it (agent/memory_regions.h), and which pages are left out (engine/left_out_memory.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gate/control_page.h"
#include "os/ids.h"
#include "os/result.h"

namespace crs {

inline constexpr std::uint64_t memory_table_magic = 0x314D454D53524331;
inline constexpr std::uint32_t max_memory_rows = 1u << 20;

enum class MemoryUse : std::uint32_t { unused = 0, exclude = 1, include = 2 };

struct MemoryRow {
  std::atomic<std::uint32_t> use{0};  // MemoryUse
  std::uint32_t next_unused = 0;      // libcrs's own: 1 + index of the next row to be used again; 0: none
  std::uint64_t id = 0;
  std::uint64_t start = 0, bytes = 0;
  std::uint64_t rebuild = 0, context = 0;  // addresses in the program; 0: it comes back as zeros
  char label[80] = {};                     // with a NUL at its end
};
static_assert(sizeof(MemoryRow) == 128);

struct MemoryTable {
  std::uint64_t magic = memory_table_magic;
  std::atomic<std::uint32_t> rows{0};  // those that were ever used; they follow
  std::uint32_t capacity = 0;
  std::uint64_t last_id = 0;      // libcrs's own, as is the next one
  std::uint32_t next_unused = 0;  // 1 + index of a row that can be used again
  std::uint32_t reserved[25] = {};
};
static_assert(sizeof(MemoryTable) == sizeof(MemoryRow));

// One row, as a checkpointer sees it.
struct MemoryWish {
  MemoryUse use = MemoryUse::unused;
  std::uint64_t id = 0;
  std::uint64_t start = 0, end = 0;
  std::string label;
  bool rebuilt = false;  // by the program, after a restart
};

struct MemoryWishes {
  std::vector<MemoryWish> wishes;  // by id
  NsPid rebuilder;                 // the thread that rebuilds after a restart; 0: nothing is to be rebuilt
  std::vector<std::string> notes;
};

// Exactly out.size() bytes of the process's memory.
using ProcessMemory = std::function<Status(RemoteAddr from, std::span<std::byte> out)>;

// The rows that are in use. errors: bad_snapshot (it is damaged), what `read` answers.
Result<std::vector<MemoryWish>> read_memory_table(std::uint64_t address, const ProcessMemory& read);

// What a process wants whose page this is. A damaged table is a note, and then nothing is left out.
MemoryWishes memory_wishes(const ControlPage& page, const ProcessMemory& read);

}  // namespace crs
