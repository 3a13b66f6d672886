// SPDX-License-Identifier: Apache-2.0
// Clock view: what the restored process's clocks that count from the start of the system will show.
//
// What this file knows
//   A program remembers points of CLOCK_MONOTONIC: when to wake up, what has timed out. After another start
//   of the system, or on another machine, such a point may lie days ahead. So its clocks go on where they
//   stood then, in a time namespace, whose offsets the manifest's clocks tell. Since the same start of the
//   system the clocks have gone on by themselves, and the program sees how long it was away, as after a stop;
//   one that was saved in a time namespace gets the same one again. A time namespace takes root, or the user
//   namespace that a restart without privilege makes anyway. Where it cannot be had, a note says so.
//
// Kernel interfaces: time_namespaces(7).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "os/clocks.h"

namespace crs {

class ClockView {
 public:
  // errors: refused (go_on, and the snapshot does not tell its clocks).
  static Result<ClockView> choose(const store::Manifest& manifest, ClockMode mode);

  // Children of this process see it from now on. errors: permission, kernel; with ClockMode::go_on only, else
  // a note.
  Status shift_for_children(std::vector<std::string>& notes) const;

 private:
  std::optional<SystemClocks> offsets_;  // nullopt: those of this process
  bool required_ = false;
  bool other_boot_ = false;
};

}  // namespace crs
