// SPDX-License-Identifier: Apache-2.0
// Page saver: from the target's memory into the page file, by several threads at once.
//
// What this file knows
//   Ranges are cut into chunks of at most store::max_chunk_pages. The target stands still only until the last
//   chunk was read (process_vm_readv(2), and /proc/PID/mem for what that refuses: PROT_NONE pages), so
//   reading goes first: a worker that finds a free buffer reads, else it works off what was read: drops pages
//   that hold only zeros, and hands the rest to the writer, which checks, compresses and writes in the
//   worker's thread. A program that fits into the buffers stands still for the time of a copy; memory in use
//   stays below PageBuffers::total_size, whatever the target's size.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
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

// Room for chunks, in one piece. It is touched at once as far as it will be needed, because the first touch
// of fresh memory takes longer than the copy into it.
class PageBuffers {
 public:
  explicit PageBuffers(std::uint64_t expected_bytes);
  PageBuffers(const PageBuffers&) = delete;
  PageBuffers& operator=(const PageBuffers&) = delete;
  ~PageBuffers();

  static constexpr std::size_t buffer_size = store::max_chunk_pages * page_size;
  static constexpr std::size_t total_size = 32u << 20;
  std::size_t count() const { return base_ == nullptr ? 0 : total_size / buffer_size; }
  std::byte* buffer(std::size_t index) const { return base_ + index * buffer_size; }

 private:
  void* area_ = nullptr;
  std::size_t area_size_ = 0;
  std::byte* base_ = nullptr;  // null: there was no memory
};

class PageSaver {
 public:
  // Before the target is frozen: makes buffers for about so many bytes.
  explicit PageSaver(std::uint64_t expected_bytes);
  PageSaver(const PageSaver&) = delete;
  PageSaver& operator=(const PageSaver&) = delete;
  ~PageSaver();  // gives up what is not done yet

  // Starts the workers. `target`, `writer` and what `options` refers to must outlive the saver, the target at
  // least until wait_read() returned.
  void start(const FrozenProcess& target, std::span<const SourceRun> runs, store::PageFileWriter& writer,
             const PageSaverOptions& options);
  // Until every page was read: the target may go on. errors: target_gone, timeout; storage where writing
  // failed already.
  Status wait_read();
  // Until everything is in the page file. errors: storage, timeout.
  Status finish();

 private:
  struct State;
  PageBuffers buffers_;
  std::unique_ptr<State> state_;  // once started
};

unsigned worker_count(unsigned wanted);

}  // namespace crs
