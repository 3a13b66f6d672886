// SPDX-License-Identifier: Apache-2.0
#include "store/compression.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

namespace crs::store {
namespace {

template <class Context, std::size_t (*Free)(Context*)>
struct ContextDeleter {
  void operator()(Context* context) const { Free(context); }
};
using CompressContext = std::unique_ptr<ZSTD_CCtx, ContextDeleter<ZSTD_CCtx, ZSTD_freeCCtx>>;
using DecompressContext = std::unique_ptr<ZSTD_DCtx, ContextDeleter<ZSTD_DCtx, ZSTD_freeDCtx>>;

bool is_worth_it(std::size_t stored, std::size_t raw) { return stored + raw / 16 <= raw; }

// A page in sixteen, by the fastest compressor there is: random memory costs next to nothing.
bool sample_shrinks(std::span<const std::byte> raw) {
  constexpr std::size_t piece = 4096;
  constexpr std::size_t stride = 16 * piece;
  std::array<char, LZ4_COMPRESSBOUND(piece)> out;
  std::size_t before = 0, after = 0;
  for (std::size_t at = 0; at < raw.size(); at += stride) {
    const std::size_t size = std::min(piece, raw.size() - at);
    const int got = LZ4_compress_fast(reinterpret_cast<const char*>(raw.data() + at), out.data(), static_cast<int>(size),
                                      static_cast<int>(out.size()), 8);
    before += size;
    after += std::min(size, static_cast<std::size_t>(std::max(got, 0)));
  }
  return is_worth_it(after, before + before / 32);  // a sample alone compresses a little worse
}

}  // namespace

std::optional<std::span<const std::byte>> compress(const PageFileOptions& options, std::span<const std::byte> raw) {
  if (options.codec == Codec::none || !sample_shrinks(raw)) return std::nullopt;
  thread_local std::vector<std::byte> buffer;
  std::size_t size = 0;
  if (options.codec == Codec::zstd) {
    thread_local const CompressContext context(ZSTD_createCCtx());
    buffer.resize(std::max(buffer.size(), ZSTD_compressBound(raw.size())));
    size = ZSTD_compressCCtx(context.get(), buffer.data(), buffer.size(), raw.data(), raw.size(), options.level);
    if (ZSTD_isError(size) != 0) return std::nullopt;
  } else {
    buffer.resize(std::max(buffer.size(), static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(raw.size())))));
    const int got = LZ4_compress_fast(reinterpret_cast<const char*>(raw.data()), reinterpret_cast<char*>(buffer.data()),
                                      static_cast<int>(raw.size()), static_cast<int>(buffer.size()),
                                      std::max(1, options.level));
    if (got <= 0) return std::nullopt;
    size = static_cast<std::size_t>(got);
  }
  if (!is_worth_it(size, raw.size())) return std::nullopt;
  return std::span<const std::byte>(buffer).first(size);
}

Status decompress(Codec codec, std::span<const std::byte> stored, std::span<std::byte> raw) {
  const Error damaged(Errc::bad_snapshot, "a compressed chunk is damaged");
  if (codec == Codec::zstd) {
    thread_local const DecompressContext context(ZSTD_createDCtx());
    if (ZSTD_decompressDCtx(context.get(), raw.data(), raw.size(), stored.data(), stored.size()) != raw.size()) {
      return damaged;
    }
    return ok();
  }
  if (codec == Codec::lz4) {
    const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(raw.data()),
                                        static_cast<int>(stored.size()), static_cast<int>(raw.size()));
    if (got != static_cast<int>(raw.size())) return damaged;
    return ok();
  }
  return damaged;
}

}  // namespace crs::store
