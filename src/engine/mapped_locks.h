// SPDX-License-Identifier: Apache-2.0
// Mapped locks: flock(2) locks that a process holds through a shared mapping alone.
//
// What this file knows
//   Such a lock belongs to the open file description. Where the descriptor was closed and the file is still
//   mapped, the mapping keeps the description and with it the lock: java holds the one on its hsperfdata file
//   like that. No fdinfo tells of it, /proc/locks does.
// What it leaves to others
//   Locks of descriptions that have a descriptor (kinds/file_locks.cc).
//
// Kernel interfaces: flock(2), proc(5) locks and fdinfo.   Round trip:
// tests/targets/file_locks_held_by_a_mapping_alone_are_held_again.cc
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "engine/frozen_process.h"
#include "os/result.h"

namespace crs {

// A line of /proc/locks, or what stands behind "lock:" in fdinfo:
// "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF".
struct LockLine {
  std::string sort, access, owner, where, first, last;
};
// nullopt for one that waits for a lock (its second word is "->").
std::optional<LockLine> parse_lock(std::string_view text);

// As /proc/locks names a file: "fe:00:131".
std::string lock_place(const Vma& vma);

// lock_place() -> whether it is exclusive. Only where a single lock is in question; others are not listed.
Result<std::map<std::string, bool>> find_mapped_locks(const FrozenProcess& target);

}  // namespace crs
