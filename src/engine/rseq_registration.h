// SPDX-License-Identifier: Apache-2.0
// Restartable sequences: where a stopped thread has registered its area with the kernel (rseq(2)).
//
// Kernel interfaces: ptrace(2) PTRACE_GET_RSEQ_CONFIGURATION, since Linux 5.13; glibc has no name for it yet.
#pragma once

#include <cstdint>

#include "os/ids.h"
#include "os/result.h"

namespace crs {

// struct ptrace_rseq_configuration of include/uapi/linux/ptrace.h.
struct RseqRegistration {
  std::uint64_t address = 0;  // 0: not registered
  std::uint32_t size = 0;
  std::uint32_t signature = 0;
  std::uint32_t flags = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(RseqRegistration) == 24);

// Of a thread in a ptrace-stop of ours. errors: unsupported (an older kernel), kernel.
Result<RseqRegistration> read_rseq_registration(Tid tid);

}  // namespace crs
