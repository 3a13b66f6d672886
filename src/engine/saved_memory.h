// SPDX-License-Identifier: Apache-2.0
// Saved memory: single stretches of a snapshot's private memory, before there is a process.
#pragma once

#include <cstdint>
#include <vector>

#include "os/file_io.h"
#include "os/result.h"
#include "store/page_file.h"

namespace crs {

class SavedMemory {
 public:
  explicit SavedMemory(const store::PageFileReader& pages);

  // The bytes [start, start + bytes) of the process, zero where the snapshot holds nothing (never touched, or
  // as in the mapped file). Not thread-safe. errors: bad_snapshot.
  Result<Bytes> read(std::uint64_t start, std::uint64_t bytes);

 private:
  struct Stretch {
    std::uint64_t start = 0, end = 0;
    std::size_t chunk = 0;
    std::uint64_t offset = 0;  // in the chunk, bytes
  };

  Status load(std::size_t chunk);

  const store::PageFileReader& pages_;
  std::vector<Stretch> stretches_;  // by address
  Bytes chunk_;                     // the one that was read last
  std::size_t loaded_ = SIZE_MAX;
};

}  // namespace crs
