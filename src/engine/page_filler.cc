// SPDX-License-Identifier: Apache-2.0
#include "engine/page_filler.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <tuple>
#include <vector>

#include "engine/file_spaces.h"
#include "engine/page_saver.h"
#include "os/ids.h"

namespace crs {
namespace {

Status place(const store::PageFileReader::Chunk& chunk, std::span<const FillTarget> targets,
             std::vector<std::span<std::byte>>& into) {
  into.clear();
  for (const store::PageRun& run : chunk.runs) {
    const auto after = std::ranges::upper_bound(
        targets, std::tuple(run.space, run.address), {},
        [](const FillTarget& target) { return std::tuple(target.space, target.start); });
    const std::uint64_t bytes = std::uint64_t{run.pages} * page_size;
    if (after == targets.begin()) return Error(Errc::bad_snapshot, "pages that belong to no mapping");
    const FillTarget& target = *std::prev(after);
    if (target.space != run.space || run.address < target.start || run.address + bytes > target.end) {
      return Error(Errc::bad_snapshot,
                   "pages at " + to_string(RemoteAddr(run.address)) + " belong to no mapping");
    }
    into.emplace_back(target.memory + (run.address - target.start), bytes);
  }
  return ok();
}

}  // namespace

Status fill_pages(const store::PageFileReader& pages, std::span<const FillTarget> targets, unsigned workers,
                  Deadline deadline) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failure;
  const auto work = [&] {
    std::vector<std::span<std::byte>> into;
    for (;;) {
      const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= pages.chunk_count()) return;
      auto status = deadline.check("memory was being filled");
      const auto chunk = pages.chunk(index);
      if (!chunk.runs.empty() && is_file_space(chunk.runs.front().space)) continue;
      if (status) status = place(chunk, targets, into);
      if (status) status = pages.read_chunk(index, into);
      if (!status) {
        const std::scoped_lock lock(mutex);
        if (!failure) failure = std::move(status).error();
        next.store(pages.chunk_count(), std::memory_order_relaxed);
        return;
      }
    }
  };
  const std::size_t count = std::min<std::size_t>(worker_count(workers), pages.chunk_count());
  if (count <= 1) {
    work();
  } else {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back(work);
  }
  if (failure) return std::move(*failure);
  return ok();
}

}  // namespace crs
