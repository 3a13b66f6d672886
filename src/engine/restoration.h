// SPDX-License-Identifier: Apache-2.0
// Restoration: everything of one snapshot, loaded, checked, and brought back into one new process.
//
// What this file knows
//   The order: load and check before anything exists; then a forked copy that fills itself (inside), finished
//   from outside by batches, phase by phase; then the side effects that cannot be taken back; then it runs.
//   Whoever calls create() becomes the parent and the tracer of the new process, in its own pid namespace.
//   become() does the same to the calling process: then a helper is the tracer.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/active_kinds.h"
#include "engine/address_space.h"
#include "engine/deleted_files.h"
#include "engine/engine.h"
#include "engine/interrupted_code.h"
#include "engine/memory_keeper.h"
#include "engine/memory_map.h"
#include "engine/memory_rewind.h"
#include "engine/rebuilder.h"
#include "engine/thread_table.h"

namespace crs {

// That the snapshot was made on a machine of this kind. errors: bad_snapshot.
Status check_machine(const store::Manifest& manifest);
// Damage is found before there is a process (and what is decompressed is checked again as it is put in
// place). Nothing where somebody has just done so (options.verified).
Status verify_before(const store::SnapshotReader& snapshot, const RestartOptions& options, Events& events);

// How a living process gets back (rewind.cc).
struct RewindPlan {
  std::set<std::string> equal;    // sections
  std::vector<RemoteFd> surplus;  // descriptors that it had not
  MemoryRewind memory;
  RemoteAddr landing;
};

class Restoration {
 public:
  Restoration(std::span<const KindInfo* const> table, const store::SnapshotReader& snapshot,
              const RestartOptions& options)
      : kinds_(make_kinds(table)), snapshot_(snapshot), options_(options), space_(memory_) {}
  Restoration(const Restoration&) = delete;
  Restoration& operator=(const Restoration&) = delete;

  Status load();  // every section; errors: bad_snapshot
  // Where the memory is kept by a process: finds it. errors: not_found (it has ended), bad_snapshot.
  Status find_keeper();
  bool has_keeper() const { return keeper_.has_value(); }
  Status check(Blockers& blockers);
  const ThreadTable& threads() const { return threads_; }
  const Deadline& deadline() const { return options_.deadline; }
  nlohmann::json describe() const;

  // Makes the process and lets it run; on failure nothing of it is left. Answers its pid (ours to wait for).
  Result<Pid> create(std::vector<std::string>& notes);

  // The calling process, of one thread, becomes the saved one (in_place.cc). Returns only an error, and then
  // nothing of it was changed; a later failure ends the process, and `told` hears why.
  Error become(const InPlaceTold& told);

  // Whether the frozen process can go back without being made anew; find_keeper() was called. Changes
  // nothing. errors: unsupported, with what stands in the way.
  Result<RewindPlan> plan_rewind(FrozenProcess& target, std::span<const KindInfo* const> table) const;
  // It runs on from where it was saved. errors: unsupported, and it is as it was; any other, and it has
  // ended.
  Status rewind(FrozenProcess& target, const RewindPlan& plan, std::vector<std::string>& notes);

 private:
  Result<bool> is_in_the_middle_of(AddressRange code) const;
  bool needs_own_session() const;
  bool joins_our_session() const;
  void lend_terminal(Pid pid) const;
  Status take_session_and_group() const;
  Status take_numbers_aside();
  [[noreturn]] void run_inside(int channel);
  // The tracer's part: `pid` is seized, and was told to go on; `channel` leads to it.
  Status finish(Pid pid, int channel, std::vector<std::string>& notes);
  [[noreturn]] void help(Pid pid, OwnedFd channel, const InPlaceTold& told);
  Status fill_inside(int channel);
  Status finish_outside(Rebuilder& rebuilder);
  Status commit(Rebuilder& rebuilder);
  // The threads get their own state, [hole, hole + size) with the landing goes, and it runs.
  Status let_go(Rebuilder& rebuilder, RemoteAddr hole, std::uint64_t size);
  Status take_over(FrozenProcess& target, RemoteAddr landing);
  Status rewind_memory(Rebuilder& rebuilder, const FrozenProcess& target, const RewindPlan& plan);
  Status write_control_page(const Rebuilder& rebuilder) const;
  Status finish_rewind(Rebuilder& rebuilder, const RewindPlan& plan);

  std::vector<ActiveKind> kinds_;
  const store::SnapshotReader& snapshot_;
  const RestartOptions& options_;
  DeletedFiles deleted_files_;
  MemoryMap memory_;
  AddressSpace space_;
  std::optional<MemoryKeeper> keeper_;  // where the snapshot does not hold the memory itself
  ThreadTable threads_;
  DescriptorTable descriptors_;
  // Descriptor numbers of the new process, above all saved ones, until it is finished.
  int channel_number_ = -1;
  int executable_number_ = -1;
};

}  // namespace crs
