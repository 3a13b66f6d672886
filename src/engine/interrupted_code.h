// SPDX-License-Identifier: Apache-2.0
// Interrupted code: where signal handlers that have not returned yet will return to.
//
// What this file knows
//   A handler's frame (signal_frame.h) lies on the stack that it runs on, above its stack pointer, and holds
//   the instruction and the stack pointer that it interrupted; that stack may be another one
//   (sigaltstack(2)), with another frame further up. Frames are told from other data by their code segment
//   and flags. An alternate stack that nobody stands on only holds frames of handlers that are over.
//
// Kernel interfaces: sigaltstack(2); arch/x86/include/uapi/asm/sigcontext.h.
#pragma once

#include <cstdint>
#include <span>

#include "engine/memory_map.pb.h"
#include "engine/saved_memory.h"
#include "os/result.h"

namespace crs {

struct AddressRange {
  std::uint64_t start = 0, end = 0;
  bool contains(std::uint64_t at) const { return at >= start && at < end; }
};

// Whether a handler that was running when the program was saved had interrupted an instruction in `code`.
// `stack_pointers` are the threads'. errors: bad_snapshot.
Result<bool> handler_interrupted(AddressRange code, std::span<const std::uint64_t> stack_pointers,
                                 std::span<const AddressRange> alternate_stacks, const state::MemoryMap& map,
                                 SavedMemory& memory);

}  // namespace crs
