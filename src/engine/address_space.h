// SPDX-License-Identifier: Apache-2.0
// Address space: from a snapshot's mappings to mappings in place.
//
// What this file knows
//   The restored process starts as a forked copy of the restorer, whose own memory is in the way. So every
//   region is made and filled at a free place first (the hole, laid out by staging_area.h), by ordinary code
//   with threads; then, from outside, everything of the restorer is unmapped and each region is moved to its
//   own address by mremap(2), which moves page tables, not bytes. The vdso and its vvar mappings are moved by
//   name, by way of a shelter, since old and new place may overlap. Views of one shared anonymous object are
//   made of a base mapping by mremap(2) with an old size of 0.
//
// Kernel interfaces: mmap(2), mremap(2), madvise(2), mlock2(2).
#pragma once

#include <cstdint>
#include <optional>

#include "engine/deleted_files.h"
#include "engine/memory_keeper.h"
#include "engine/memory_map.h"
#include "engine/resource_kind.h"
#include "engine/staging_area.h"

namespace crs {

// The calls that map anonymous memory at its own address, empty.
void map_in_place(CallBatch& batch, const state::Mapping& mapping);

class AddressSpace {
 public:
  explicit AddressSpace(const MemoryMap& map) : map_(map) {}

  // Chooses the hole, in the restorer, before it forks. errors: refused (no room).
  Status plan();
  // Where the engine's batches run while memory is rebuilt: at the start of the hole.
  RemoteAddr landing() const { return RemoteAddr(hole_); }

  // In the forked copy: makes all regions at the hole and fills them from the page file, checking every
  // checksum, and from the keeper of the rest, if there is one.
  Status fill(const store::SnapshotReader& snapshot, DeletedFiles& deleted_files,
              const std::optional<MemoryKeeper>& keeper, unsigned workers, Deadline deadline) const;

  // From outside: the calls that clear the way and put everything in place. `now` are the process's mappings.
  // The hole stays, with the landing.
  Status rebuild(CallBatch& batch, std::span<const Vma> now) const;
  // The last of it: mlockall(MCL_FUTURE) and the like, which must come after everything is mapped.
  void finish(CallBatch& batch) const;
  std::uint64_t hole_size() const { return area_.size; }

 private:
  bool is_redirected_vdso(const state::Mapping& mapping) const;
  // Of the mapping or object with this index.
  bool is_staged(std::size_t mapping) const { return area_.places[mapping] != 0; }
  std::uint64_t place(std::size_t mapping) const { return hole_ + area_.places[mapping]; }
  std::uint64_t object_place(std::size_t object) const { return hole_ + area_.object_places[object]; }
  bool is_filled(const state::Mapping& mapping) const;  // with bytes of the snapshot
  const MemoryMap& map_;
  StagingArea area_;
  std::uint64_t hole_ = 0;
};

}  // namespace crs
