// SPDX-License-Identifier: Apache-2.0
// Active kinds: a fresh object of every kind for one operation, and what all operations do with them.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "engine/descriptor_table.h"
#include "engine/resource_kind.h"

namespace crs {

// In the table's order, or, when CRS_TEST_SHUFFLE_KINDS holds a number, shuffled by it: within a phase the
// order must not matter.
std::vector<ActiveKind> make_kinds(std::span<const KindInfo* const> table);

class QuestionSet : public Questions {
 public:
  CallBatch& leader() override { return leader_; }
  CallBatch& thread(NsPid ns_tid) override { return threads_[ns_tid.v]; }

 private:
  CallBatch leader_;
  std::map<pid_t, CallBatch> threads_;
};

}  // namespace crs
