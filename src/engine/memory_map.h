// SPDX-License-Identifier: Apache-2.0
// Memory map: what is mapped where, and whether it can be mapped again.
//
// What this file knows
//   /proc/PID/maps gives ranges and names; VmFlags in smaps give what mmap(2), madvise(2) and mlock(2) were
//   told. A private mapping of a file that was replaced or deleted since (an upgrade under a running program)
//   is saved whole, as anonymous memory. Shared anonymous memory is known by its inode ("/dev/zero
//   (deleted)"); one object may be mapped in several places. Device memory, hugetlb, userfaultfd, sealed and
//   System V mappings are blockers, by name. Any number of [v...] mappings belongs to the vdso; [vsyscall] is
//   not the process's own.
// What it leaves to others
//   Putting mappings in place (address_space.h), which pages hold something (page_scan.h), and which of those
//   are left out (left_out_memory.h).
//
// Kernel interfaces: proc(5) maps, smaps, map_files.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/interrupted_code.h"
#include "engine/memory_map.pb.h"
#include "engine/page_saver.h"
#include "engine/resource_kind.h"

namespace crs {

enum MappingFlag : std::uint64_t {
  mapping_grows_down = 1u << 0,
  mapping_locked = 1u << 1,
  mapping_lock_on_fault = 1u << 2,
  mapping_dont_fork = 1u << 3,
  mapping_dont_dump = 1u << 4,
  mapping_wipe_on_fork = 1u << 5,
  mapping_huge_pages = 1u << 6,
  mapping_no_huge_pages = 1u << 7,
  mapping_mergeable = 1u << 8,
  mapping_no_reserve = 1u << 9,
  mapping_sequential = 1u << 10,
  mapping_random = 1u << 11,
  mapping_may_write = 1u << 12,  // a shared file mapping whose file was opened for writing
  mapping_droppable = 1u << 13,  // MAP_DROPPABLE: the kernel may drop its pages; they are saved where present
  all_mapping_flags = (1u << 14) - 1,
};

class MemoryMap {
 public:
  static constexpr std::string_view section = "memory_map";

  Status collect(CollectContext& context);
  Result<std::string> save() const { return to_section(map_); }
  // Everything that must go into the page file, found by collect().
  const std::vector<SourceRun>& contents() const { return contents_; }
  std::uint64_t content_bytes() const;
  // What had contents and is not among contents(), as it was wished.
  std::uint64_t left_out_bytes() const { return map_.left_out_bytes(); }
  std::uint64_t left_out_regions() const;

  // Checks every number: ranges ascending, apart, aligned, below the end of user space; types, indexes,
  // flags.
  Status load(std::string_view bytes);
  Status check(CheckContext& context) const;
  // Before the address space is planned: where the running kernel's vdso is another one than the saved, the
  // saved code becomes ordinary memory that leads to the kernel's own (vdso.h), unless somebody is in the
  // middle of it.
  using InTheMiddle = std::function<Result<bool>(AddressRange code)>;
  Status fit_vdso(const InTheMiddle& is_in_the_middle, Blockers& blockers);
  // The start of the mapping that holds map().vdso() as ordinary memory; 0: there is none.
  std::uint64_t redirected_vdso() const { return redirected_vdso_; }
  const state::MemoryMap& map() const { return map_; }
  nlohmann::json describe() const;
  nlohmann::json describe_left_out() const;  // null: nothing was

 private:
  state::MemoryMap map_;
  std::uint64_t redirected_vdso_ = 0;
  std::vector<SourceRun> contents_;
};

}  // namespace crs
