// SPDX-License-Identifier: Apache-2.0
// vdso: the code that the kernel maps into every process, when a program comes back under another kernel.
//
// What this file knows
//   Programs remember where the functions of their vdso are. Under another kernel they find the old code
//   there, as ordinary memory in which each exported function begins with a jump to the running kernel's own
//   function. What that kernel has no function for is done by the system call of the same meaning. getrandom
//   always is: the state that the program keeps for it belongs to the kernel it began with (vDSO getrandom,
//   since Linux 6.11). Redirected code is ordinary memory for the next checkpoint too, so under a third
//   kernel the jumps make a chain.
// What it leaves to others
//   Where the code is put (memory_map.cc); threads that stand inside it, whom the jumps do not help.
//
// Kernel interfaces: vdso(7), elf(5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "os/file_io.h"
#include "os/result.h"

namespace crs {

struct VdsoFunction {
  std::uint64_t offset = 0;  // from the start of the vdso
  std::uint64_t size = 0;    // bytes, as its symbol says
};

// The exported functions by name. errors: bad_snapshot (no such image).
Result<std::map<std::string, VdsoFunction>> functions_of_vdso(std::span<const std::byte> image);

// `saved` with the jumps written into it; `own` is the running kernel's image, which will stand at
// `own_address`. errors: bad_snapshot; unsupported, where a function can neither be redirected nor replaced
// (the message names it).
Result<Bytes> redirect_vdso(std::span<const std::byte> saved, std::span<const std::byte> own,
                            std::uint64_t own_address);

}  // namespace crs
