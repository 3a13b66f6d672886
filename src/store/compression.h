// SPDX-License-Identifier: Apache-2.0
// Compression of one chunk, with contexts that live as long as the thread.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "os/result.h"
#include "store/page_file.h"

namespace crs::store {

// The compressed bytes, in a buffer of the calling thread that lasts until its next call; nullopt when compression does
// not save at least a sixteenth. Data that a sample shows to be incompressible is not tried.
std::optional<std::span<const std::byte>> compress(const PageFileOptions& options, std::span<const std::byte> raw);

// errors: bad_snapshot (not of exactly raw.size() bytes, damaged).
Status decompress(Codec codec, std::span<const std::byte> stored, std::span<std::byte> raw);

}  // namespace crs::store
