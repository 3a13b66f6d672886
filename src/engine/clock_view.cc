// SPDX-License-Identifier: Apache-2.0
#include "engine/clock_view.h"

#include <unistd.h>

#include "os/proc.h"

namespace crs {

Result<ClockView> ClockView::choose(const store::Manifest& manifest, ClockMode mode) {
  ClockView view;
  const std::string now = boot_id();
  view.other_boot_ = !now.empty() && !manifest.boot_id.empty() && now != manifest.boot_id;
  view.required_ = mode == ClockMode::go_on;
  if (mode == ClockMode::host) return view;
  if (!manifest.clocks) {
    if (view.required_) {
      return Error(Errc::refused, "this snapshot does not tell what the program's clocks showed")
          .with_hint("restart it with --clock host");
    }
    return view;
  }
  CRS_TRY(const SystemClocks ours, clock_offsets(Pid(getpid())));
  using std::chrono::nanoseconds;
  SystemClocks offsets{nanoseconds(manifest.clocks->monotonic_offset_ns),
                       nanoseconds(manifest.clocks->boottime_offset_ns)};
  if (view.required_ || view.other_boot_) {
    const SystemClocks then{nanoseconds(manifest.clocks->monotonic_ns),
                            nanoseconds(manifest.clocks->boottime_ns)};
    offsets = ours + then - read_clocks();
  }
  if (offsets != ours) view.offsets_ = offsets;
  return view;
}

Status ClockView::shift_for_children(std::vector<std::string>& notes) const {
  Status shifted = offsets_ ? shift_clocks_of_children(*offsets_) : ok();
  if (!shifted && required_) {
    return std::move(shifted).error().with_hint(
        "that takes root (CAP_SYS_ADMIN and CAP_SYS_TIME), or --pid namespace where user namespaces are "
        "allowed");
  }
  if (!other_boot_ || (shifted && offsets_)) return ok();
  notes.push_back(
      "the system was started since the checkpoint, or is another one, so clocks that count from its start "
      "(CLOCK_MONOTONIC) show other times: what waits until a point of such a clock may end early or late" +
      (shifted ? std::string() : " (" + shifted.error().to_string() + ")"));
  return ok();
}

}  // namespace crs
