// SPDX-License-Identifier: Apache-2.0
// The bytes of a page file. docs/snapshot-format.md, "Page files", says the same in words.
#pragma once

#include <cstdint>

#include "store/checksum.h"
#include "store/page_file.h"

namespace crs::store {

inline constexpr std::uint64_t page_file_magic = 0x31'53'45'47'41'50'52'43;      // "CRPAGES1"
inline constexpr std::uint64_t page_file_end_magic = 0x31'44'4e'45'47'50'52'43;  // "CRPGEND1"
inline constexpr std::uint32_t format_version_of_pages = 1;
inline constexpr std::uint64_t page_bytes = 4096;
inline constexpr std::uint64_t chunk_alignment = 4096;  // of raw chunks, so that they can be read in place
inline constexpr std::uint64_t compressed_alignment = 64;
inline constexpr std::uint64_t index_alignment = 64;
inline constexpr std::uint64_t highest_address = 1ull << 62;  // leaves room for any sum
// What lies between two parts of the file is zeros, and shorter than chunk_alignment.

struct PageFileHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t page_size;
  std::uint8_t reserved[48];  // zero
};
static_assert(sizeof(PageFileHeader) == 64);

// In the index in the order of the file.
struct ChunkRecord {
  std::uint64_t offset;  // in the file
  std::uint32_t stored_bytes;
  std::uint32_t pages;      // sum over its runs
  std::uint32_t first_run;  // index into the run records
  std::uint32_t runs;
  std::uint8_t codec;
  std::uint8_t reserved[7];  // zero
  Hash128 checksum;          // of the raw bytes
  Hash128 stored_checksum;   // of the stored bytes of a compressed chunk; zero for a raw one
};
static_assert(sizeof(ChunkRecord) == 64);

struct PageFileFooter {
  std::uint64_t index_offset;
  std::uint64_t chunks;
  std::uint64_t runs;
  std::uint64_t raw_bytes;
  Hash128 checksum;        // of the index: chunk records, then run records
  std::uint64_t reserved;  // zero
  std::uint64_t magic;
};
static_assert(sizeof(PageFileFooter) == 64);

}  // namespace crs::store
