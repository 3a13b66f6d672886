// SPDX-License-Identifier: Apache-2.0
#include "engine/saved_memory.h"

#include <algorithm>
#include <cstring>

#include "os/ids.h"

namespace crs {

SavedMemory::SavedMemory(const store::PageFileReader& pages) : pages_(pages) {
  for (std::size_t index = 0; index < pages_.chunk_count(); ++index) {
    std::uint64_t offset = 0;
    for (const store::PageRun& run : pages_.chunk(index).runs) {
      const std::uint64_t bytes = std::uint64_t{run.pages} * page_size;
      if (run.space == 0) stretches_.push_back({run.address, run.address + bytes, index, offset});
      offset += bytes;
    }
  }
  std::ranges::sort(stretches_, {}, &Stretch::start);
}

Status SavedMemory::load(std::size_t chunk) {
  if (loaded_ == chunk) return ok();
  loaded_ = SIZE_MAX;
  const auto saved = pages_.chunk(chunk);
  chunk_.resize(saved.pages * page_size);
  std::vector<std::span<std::byte>> into;
  std::size_t offset = 0;
  for (const store::PageRun& run : saved.runs) {
    into.push_back(std::span(chunk_).subspan(offset, std::size_t{run.pages} * page_size));
    offset += into.back().size();
  }
  CRS_CHECK(pages_.read_chunk(chunk, into));
  loaded_ = chunk;
  return ok();
}

Result<Bytes> SavedMemory::read(std::uint64_t start, std::uint64_t bytes) {
  Bytes answer(bytes);
  const std::uint64_t end = start + bytes;
  for (auto at = std::ranges::upper_bound(stretches_, start, {}, &Stretch::end);
       at != stretches_.end() && at->start < end; ++at) {
    CRS_CHECK(load(at->chunk));
    const std::uint64_t from = std::max(start, at->start);
    const std::uint64_t to = std::min(end, at->end);
    std::memcpy(answer.data() + (from - start), chunk_.data() + at->offset + (from - at->start), to - from);
  }
  return answer;
}

}  // namespace crs
