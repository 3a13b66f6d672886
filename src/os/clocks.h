// SPDX-License-Identifier: Apache-2.0
// Clocks: those that count from the start of the system, and time namespaces, in which they are shifted.
//
// What this file knows
//   A time namespace adds an offset of its own to CLOCK_MONOTONIC and one to CLOCK_BOOTTIME. unshare(2) puts
//   only children into a new one, and its offsets can be set until the first of them is made; they count from
//   the system's own clocks, not from those of the maker.
//
// Kernel interfaces: time_namespaces(7), proc(5) timens_offsets, clock_gettime(2).
#pragma once

#include <chrono>
#include <optional>

#include "os/ids.h"
#include "os/result.h"

namespace crs {

struct SystemClocks {
  std::chrono::nanoseconds monotonic{}, boottime{};

  friend bool operator==(const SystemClocks&, const SystemClocks&) = default;
  friend SystemClocks operator+(const SystemClocks& a, const SystemClocks& b) {
    return {a.monotonic + b.monotonic, a.boottime + b.boottime};
  }
  friend SystemClocks operator-(const SystemClocks& a, const SystemClocks& b) {
    return {a.monotonic - b.monotonic, a.boottime - b.boottime};
  }
};

SystemClocks read_clocks();  // as this process sees them

// What the time namespace in which the children of the process will live adds to the system's clocks: that of
// the process itself unless it has called unshare(2). Zero where the kernel has no time namespaces.
// errors: kernel, not_found.
Result<SystemClocks> clock_offsets(Pid pid);

// Children that this process makes from now on live in a new time namespace with these offsets; for the
// process itself nothing changes. The caller has CAP_SYS_ADMIN and CAP_SYS_TIME in its user namespace.
// errors: permission, kernel.
Status shift_clocks_of_children(const SystemClocks& offsets);

}  // namespace crs
