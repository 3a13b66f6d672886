// SPDX-License-Identifier: Apache-2.0
// Saved threads: what kinds with state of each thread share when they put it back.
//
// What this file knows
//   A section names threads by the ids of the target's own pid namespace. A damaged or hostile section may
//   name one that does not exist, or the same one twice.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "engine/resource_kind.h"

namespace crs {

// The batch of the thread that a section calls `ns_tid`. errors: bad_snapshot when there is none.
inline Result<CallBatch*> batch_of(RebuildContext& context, NsPid ns_tid) {
  const auto threads = context.threads();
  if (std::ranges::find(threads, ns_tid) == threads.end()) {
    return Error(Errc::bad_snapshot, "there is no thread " + to_string(ns_tid));
  }
  return &context.thread(ns_tid);
}

// For load(): `messages` have a field `thread`; positive, none twice.
template <class Messages>
Status check_thread_ids(const Messages& messages) {
  std::vector<pid_t> ids;
  for (const auto& message : messages) ids.push_back(message.thread());
  std::ranges::sort(ids);
  if (!ids.empty() && ids.front() <= 0) return Error(Errc::bad_snapshot, "a thread has an impossible id");
  if (std::ranges::adjacent_find(ids) != ids.end()) {
    return Error(Errc::bad_snapshot, "a thread is listed twice");
  }
  return ok();
}

}  // namespace crs
