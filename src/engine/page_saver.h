// SPDX-License-Identifier: Apache-2.0
// Page saver: from the target's memory into the page file, by several threads at once.
//
// What this file knows
//   Ranges are cut into chunks of at most store::max_chunk_pages. Each worker reads a chunk
//   (process_vm_readv(2), and /proc/PID/mem for what that refuses: PROT_NONE pages), drops pages that hold
//   only zeros, and hands the rest to the writer, which compresses and writes in the worker's thread. So
//   memory in use is a few MiB per worker, whatever the target's size.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/frozen_process.h"
#include "os/deadline.h"
#include "os/result.h"
#include "store/page_file.h"

namespace crs {

struct PageSaverOptions {
  unsigned workers = 0;  // 0: chosen by the number of CPUs
  Deadline deadline;
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes; from one thread at a time
};

// Pages of the target's memory: `address` of each run is where to read. What lies at address a of run r is
// stored as a - r.address + r.stored_as in space r.space.
struct SourceRun {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t space = 0;
  std::uint64_t stored_as = 0;
  bool keep_zeros = false;  // something else than zeros would be there without them (a file)
};

// errors: storage, timeout, target_gone.
Status save_pages(const FrozenProcess& target, std::span<const SourceRun> runs, store::PageFileWriter& writer,
                  const PageSaverOptions& options);

unsigned worker_count(unsigned wanted);

}  // namespace crs
