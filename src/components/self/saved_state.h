// SPDX-License-Identifier: Apache-2.0
// Saved state: the parts of a self snapshot in the page file, and on their way back.
//
// What this file knows
//   Part N of the state is space N + 1 of the page file, in chunks of up to 1 MiB. On a restart all of them
//   are put into a sealed memory file, behind a table (gate/self_table.h) that says where; each byte is
//   checked against its checksum on the way, and each page must be there exactly once.
//
// Kernel interfaces: process_vm_readv(2), memfd_create(2), fcntl(2) F_ADD_SEALS.
#pragma once

#include "components/self/state.pb.h"
#include "gate/self_table.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "store/snapshot.h"

namespace crs {

// The bytes of memory at `from` of the process. errors: target_gone, refused (not readable).
Status read_process(Pid pid, std::uint64_t from, std::span<std::byte> into, const std::string& what);

// errors: as of read_process(), storage, timeout.
Status save_parts(Pid pid, const std::vector<SelfPart>& parts, store::PageFileWriter& pages,
                  const Deadline& deadline);

// `table` comes without parts. errors: bad_snapshot, kernel, timeout.
Result<OwnedFd> hand_over(const store::SnapshotReader& snapshot, const self::State& state, SelfTable table,
                          const Deadline& deadline);

}  // namespace crs
