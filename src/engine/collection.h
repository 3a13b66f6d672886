// SPDX-License-Identifier: Apache-2.0
// Collection: everything that is asked and read of one frozen process.
#pragma once

#include <vector>

#include "engine/active_kinds.h"
#include "engine/deleted_files.h"
#include "engine/memory_map.h"
#include "engine/thread_table.h"

namespace crs {

class Collection {
 public:
  explicit Collection(std::span<const KindInfo* const> table) : kinds_(make_kinds(table)) {}

  // Makes all calls inside and lets every kind read its part. What cannot be saved is in `blockers`. `writer`
  // may be null.
  Status collect(FrozenProcess& target, Blockers& blockers, store::SnapshotWriter* writer, Deadline deadline);
  Status save(store::SnapshotWriter& writer) const;  // the sections

  const MemoryMap& memory() const { return memory_; }
  std::uint64_t descriptors() const { return descriptors_.count(); }

 private:
  std::vector<ActiveKind> kinds_;
  DeletedFiles deleted_files_;
  MemoryMap memory_;
  ThreadTable threads_;
  DescriptorTable descriptors_;
};

}  // namespace crs
