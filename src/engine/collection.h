// SPDX-License-Identifier: Apache-2.0
// Collection: everything that is asked and read of one frozen process.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/active_kinds.h"
#include "engine/deleted_files.h"
#include "engine/left_out_memory.h"
#include "engine/memory_map.h"
#include "engine/thread_table.h"

namespace crs {

class Collection {
 public:
  explicit Collection(std::span<const KindInfo* const> table) : kinds_(make_kinds(table)) {}

  // Makes all calls inside and lets every kind read its part. What cannot be saved is in `blockers`. `writer`
  // may be null. `descriptors`: only these are looked at; null: all.
  Status collect(FrozenProcess& target, const MemoryOptions& options, Blockers& blockers,
                 store::SnapshotWriter* writer, Deadline deadline, const std::set<int>* descriptors = nullptr,
                 MemoryDetail detail = MemoryDetail::contents);
  Status save(store::SnapshotWriter& writer) const;  // the sections
  // The sections, by name.
  Result<std::map<std::string, std::string>> sections() const;

  const MemoryMap& memory() const { return memory_; }
  bool needs_rebuilding() const { return needs_rebuilding_; }  // by the program, before it goes on
  std::uint64_t descriptors() const { return descriptors_.count(); }

 private:
  void choose_memory(const FrozenProcess& target, const MemoryOptions& options, CollectContext& context,
                     LeftOutMemory& left_out);

  std::vector<ActiveKind> kinds_;
  DeletedFiles deleted_files_;
  MemoryMap memory_;
  ThreadTable threads_;
  DescriptorTable descriptors_;
  bool needs_rebuilding_ = false;
};

}  // namespace crs
