// SPDX-License-Identifier: Apache-2.0
// Controlling terminal: which one a process's session has.
//
// Kernel interfaces: proc(5) stat, tty_ioctl(4).
#pragma once

#include <sys/sysmacros.h>

#include <cstdint>

#include "os/proc.h"

namespace crs {

// Device number; 0: none. Field 7 of /proc/PID/stat, which is in the kernel's encoding.
inline std::uint64_t controlling_terminal(const ProcStat& stat) {
  const auto number = static_cast<std::uint32_t>(stat.field(7));
  return makedev((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
}

// /dev/console, /dev/tty1 to 63.
inline bool is_console(std::uint64_t device) {
  return (major(device) == 5 && minor(device) == 1) || (major(device) == 4 && minor(device) < 64);
}

}  // namespace crs
