// SPDX-License-Identifier: Apache-2.0
// Page filler: from the page file into memory of our own, by several threads, straight into place.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "os/deadline.h"
#include "os/result.h"
#include "store/page_file.h"

namespace crs {

// A stretch of a space and where its bytes go.
struct FillTarget {
  std::uint32_t space = 0;
  std::uint64_t start = 0;  // in the space, bytes
  std::uint64_t end = 0;
  std::byte* memory = nullptr;
};

// Fills all pages of all chunks into `targets` (sorted by space and start; runs that belong nowhere are an
// error). Chunks with contents of files are passed over. Every chunk's checksum is checked. errors:
// bad_snapshot, timeout.
Status fill_pages(const store::PageFileReader& pages, std::span<const FillTarget> targets, unsigned workers,
                  Deadline deadline);

}  // namespace crs
