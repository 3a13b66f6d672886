// SPDX-License-Identifier: Apache-2.0
// Memory rewind: brings a frozen process's memory back to what its keeper holds, writing only what differs.
//
// What this file knows
//   Mappings that are as they were stay; what was mapped since goes, anonymous memory that is gone comes
//   back. A page that process and keeper still share is the same page of the machine, which pagemap tells
//   those who may see page frame numbers (CAP_SYS_ADMIN): it was not written. For others, pages are compared.
//   Pages that the process has and the keeper has not are dropped, which makes them zero, or the mapped
//   file's again. Pages are written by way of /proc/PID/mem, which reaches private memory whatever its
//   protection.
// What it leaves to others
//   Shared anonymous memory (refused), everything else of the process.
//
// Kernel interfaces: proc(5) pagemap and mem, madvise(2).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/call_batch.h"
#include "engine/frozen_process.h"
#include "engine/memory_keeper.h"
#include "engine/memory_map.h"
#include "engine/page_ranges.h"
#include "os/deadline.h"
#include "os/result.h"

namespace crs {

class MemoryRewind {
 public:
  // What leads from the mappings `now` to the saved ones. errors: unsupported, with what stands in the way.
  static Result<MemoryRewind> plan(const state::MemoryMap& saved, const state::MemoryMap& now);

  // Whether what is mapped must be changed.
  bool changes_layout() const { return !steps_.empty(); }
  // The calls that do it, and that give every mapping the advice that it had: it is not looked at, which
  // would take longer than all the rest.
  void queue_layout(CallBatch& batch) const;

  // Once the mappings are the saved ones, and nothing runs any more that writes to them.
  struct Difference {
    std::vector<PageRange> dropped;  // pages of the process alone
    std::vector<PageRange> written;  // of the keeper alone, or of both and not the same
  };
  Result<Difference> compare(const FrozenProcess& process, const MemoryKeeper& keeper,
                             unsigned workers) const;
  static void queue_drops(std::span<const PageRange> dropped, CallBatch& batch);
  // errors: target_gone.
  static Status write(const FrozenProcess& process, const Difference& difference, const MemoryKeeper& keeper,
                      int memory);

 private:
  struct Step {
    enum class Action : std::uint8_t { unmap, map, protect };
    Action action;
    state::Mapping mapping;  // as saved, cut to where the step applies
  };
  std::vector<Step> steps_;
  std::vector<state::Mapping> advised_;
  std::vector<PageRange> held_;  // saved mappings whose pages the keeper holds
};

}  // namespace crs
