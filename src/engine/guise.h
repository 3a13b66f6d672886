// SPDX-License-Identifier: Apache-2.0
// Guise: to ask a question as another process would, with its user, groups and capabilities.
//
// What this file knows
//   A child of ours takes them, asks, and ends; we ourselves stay who we are. Who may not take another's
//   user could not do anything to that process either.
//
// Kernel interfaces: fork(2), credentials(7), capset(2).
#pragma once

#include <functional>

#include "engine/error_message.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

// Runs `ask`, which answers with what it found, as the process behind `proc`. errors: permission.
Result<PartReport> ask_in_guise_of(const ProcDir& proc, const std::function<PartReport()>& ask);

}  // namespace crs
