// SPDX-License-Identifier: Apache-2.0
// Compression of one chunk, with contexts that live as long as the thread.
//
// What this file knows
//   zstd and LZ4 by their one-shot calls; both decoders are bounded by the output they are given, so damaged
//   or hostile input can only fail. Memory: at most 3 MiB per thread at level 1.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "os/result.h"
#include "store/page_file.h"

namespace crs::store {

// errors: usage, when the codec has no such level.
Status check_level(const PageFileOptions& options);

// Looks at a sample of at most 16 KiB: false for what no codec would make smaller (random, encrypted or
// compressed bytes), so that such memory costs little more than its write(2).
bool looks_compressible(std::span<const std::byte> raw);

// The compressed bytes, in a buffer of the calling thread that lasts until its next call; nullopt when
// compression does not save at least a sixteenth. Data that looks incompressible is not tried.
std::optional<std::span<const std::byte>> compress(const PageFileOptions& options,
                                                   std::span<const std::byte> raw);

// errors: bad_snapshot (not of exactly raw.size() bytes, damaged).
Status decompress(Codec codec, std::span<const std::byte> stored, std::span<std::byte> raw);

}  // namespace crs::store
