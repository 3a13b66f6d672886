// SPDX-License-Identifier: Apache-2.0
// Left-out memory: which pages of a process are not saved, because the program or the user wants it so.
//
// What this file knows
//   The program names ranges by its libcrs (gate/memory_table.h): what is excluded is left out as far as it
//   is whole pages, what is included is saved all the same, with the rest of its pages. The user may want
//   mappings left out that madvise(2) was told to keep out of core dumps (MADV_DONTDUMP).
//   What nobody can do without is saved whatever they want: from the stack pointer of a thread (also of one
//   that a signal handler interrupted, and less the red zone) upwards, its thread-local storage, and what the
//   kernel writes to for it. A mapping for which MADV_DONTDUMP was given is saved whole where it holds such.
//   Pages of files are not the process's memory: nothing of this concerns them.
// What it leaves to others
//   What comes back in place of left-out pages: zeros, or the file where a private mapping has one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/blockers.h"
#include "engine/frozen_process.h"
#include "engine/memory_map.pb.h"
#include "engine/page_ranges.h"
#include "gate/memory_table.h"

namespace crs {

class ThreadTable;

struct MemoryOptions {
  bool skip_dontdump = false;
  // What the program itself wants; asked once, while it is frozen. Empty: it does not take part.
  std::function<MemoryWishes(const ProcessMemory&)> ask;
};

class LeftOutMemory {
 public:
  // An address that a thread cannot do without, and how much of what is around it.
  struct Need {
    std::uint64_t at = 0, below = 0, above = 0;  // bytes
    std::string whose;                           // "thread 7", of a stack; "" of anything else
  };

  // Nothing is left out.
  LeftOutMemory() = default;
  LeftOutMemory(const MemoryOptions& options, std::vector<MemoryWish> wishes, std::vector<Need> needs);

  // What `target`, whose threads are in `threads`, cannot do without.
  static std::vector<Need> needs_of(const FrozenProcess& target, const ThreadTable& threads);

  // Of a private mapping, what is saved of its pages `own` (a set); what is not is counted.
  std::vector<PageRange> saved_of(const Vma& vma, bool is_dontdump, std::vector<PageRange> own);
  // Of a mapping of a shared object: what is excluded by it, and what is included.
  struct View {
    std::vector<PageRange> excluded, included;
  };
  View view(const Vma& vma, bool is_dontdump);
  // What came of all views of an object: so many bytes were left out of it. `left_out` are addresses.
  void count_object(const std::vector<PageRange>& left_out, std::uint64_t bytes);

  // When all mappings were seen: one line for each range that somebody named, and notes.
  void tell(state::MemoryMap& map, Blockers& blockers) const;
  std::uint64_t bytes() const { return bytes_; }

 private:
  bool holds_a_need(std::uint64_t start, std::uint64_t end) const;
  bool takes(const Vma& vma, bool is_dontdump);

  bool skip_dontdump_ = false;
  std::vector<MemoryWish> wishes_;
  std::vector<Need> needs_;          // by address
  std::vector<PageRange> excluded_;  // whole pages
  std::vector<PageRange> included_;  // pages
  std::vector<PageRange> mappings_;  // those of MADV_DONTDUMP
  std::vector<std::string> names_;   // of mappings_
  std::vector<PageRange> left_out_;  // pages with contents
  std::vector<PageRange> kept_;      // pages with contents that were excluded, too
  std::vector<std::string> notes_;
  std::uint64_t bytes_ = 0;
};

}  // namespace crs
