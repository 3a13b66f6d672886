// SPDX-License-Identifier: Apache-2.0
// File spaces: which spaces of the page file (store/page_file.h) hold contents of files, which are no memory.
#pragma once

#include <cstdint>

namespace crs {

// Space first_file_space + i: deleted file i, addresses are offsets in it.
inline constexpr std::uint32_t first_file_space = 1u << 30;
inline constexpr std::uint32_t most_deleted_files = 1u << 20;

inline bool is_file_space(std::uint32_t space) {
  return space >= first_file_space;
}

}  // namespace crs
