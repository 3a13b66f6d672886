// SPDX-License-Identifier: Apache-2.0
#include "store/compression.h"

#include <lz4.h>
#include <lz4hc.h>
#include <zstd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace crs::store {
namespace {

constexpr int lz4_first_hc_level = 3;  // below it the fast coder; negative levels are its acceleration
constexpr int lz4_fastest_level = -65537;

template <class Context, std::size_t (*Free)(Context*)>
struct ContextDeleter {
  void operator()(Context* context) const { Free(context); }
};
using CompressContext = std::unique_ptr<ZSTD_CCtx, ContextDeleter<ZSTD_CCtx, ZSTD_freeCCtx>>;
using DecompressContext = std::unique_ptr<ZSTD_DCtx, ContextDeleter<ZSTD_DCtx, ZSTD_freeDCtx>>;

// Bits per byte that an order-0 coder needs.
double entropy(std::span<const std::byte> data) {
  // Four tables, so that equal neighbours do not wait for each other's increment.
  std::array<std::array<std::uint32_t, 256>, 4> parts{};
  for (std::size_t i = 0; i + 4 <= data.size(); i += 4) {
    for (std::size_t k = 0; k < 4; ++k) ++parts[k][std::to_integer<std::size_t>(data[i + k])];
  }
  const auto total = static_cast<double>(data.size());
  double bits = 0;
  for (std::size_t i = 0; i < 256; ++i) {
    const double count = parts[0][i] + parts[1][i] + parts[2][i] + parts[3][i];
    if (count > 0) bits -= count * std::log2(count / total);
  }
  return bits / total;
}

std::size_t compress_zstd(int level, std::span<const std::byte> raw, std::span<std::byte> out) {
  thread_local const CompressContext context(ZSTD_createCCtx());
  if (!context) throw std::bad_alloc();
  const std::size_t size =
      ZSTD_compressCCtx(context.get(), out.data(), out.size(), raw.data(), raw.size(), level);
  return ZSTD_isError(size) != 0 ? 0 : size;
}

std::size_t compress_lz4(int level, std::span<const std::byte> raw, std::span<std::byte> out) {
  const auto* from = reinterpret_cast<const char*>(raw.data());
  auto* to = reinterpret_cast<char*>(out.data());
  const int from_size = static_cast<int>(raw.size()), to_size = static_cast<int>(out.size());
  const bool thorough = level >= lz4_first_hc_level;
  thread_local std::vector<std::max_align_t> state;
  const int state_bytes = thorough ? LZ4_sizeofStateHC() : LZ4_sizeofState();
  const std::size_t units = static_cast<std::size_t>(state_bytes) / sizeof(std::max_align_t) + 1;
  if (state.size() < units) state.resize(units);
  const int size = thorough ? LZ4_compress_HC_extStateHC(state.data(), from, to, from_size, to_size, level)
                            : LZ4_compress_fast_extState(state.data(), from, to, from_size, to_size,
                                                         level < 0 ? -level : 1);
  return size <= 0 ? 0 : static_cast<std::size_t>(size);
}

}  // namespace

Status check_level(const PageFileOptions& options) {
  if (options.codec == Codec::none) return ok();
  const bool zstd = options.codec == Codec::zstd;
  const int low = zstd ? ZSTD_minCLevel() : lz4_fastest_level;
  const int high = zstd ? ZSTD_maxCLevel() : LZ4HC_CLEVEL_MAX;
  if (options.level >= low && options.level <= high) return ok();
  return Error(Errc::usage, std::string(to_string(options.codec)) + " has no compression level " +
                                std::to_string(options.level))
      .with_hint("its levels go from " + std::to_string(low) + " to " + std::to_string(high));
}

bool looks_compressible(std::span<const std::byte> raw) {
  constexpr std::size_t slices = 16, slice_bytes = 1024;
  if (raw.size() <= slices * slice_bytes) return true;  // trying costs no more than looking
  std::array<std::byte, slices * slice_bytes> sample;
  for (std::size_t i = 0; i < slices; ++i) {
    std::memcpy(sample.data() + i * slice_bytes, raw.data() + i * (raw.size() / slices), slice_bytes);
  }
  // 16 KiB of random bytes measure 7.989 bits. Below 7.8 a Huffman coder alone saves a fortieth, which with
  // the matches that it does not see here may be the sixteenth that counts.
  if (entropy(sample) < 7.8) return true;
  // Evenly spread bytes can still repeat themselves: copied records, tables of addresses.
  std::array<char, slices * slice_bytes> out;
  constexpr int limit = slices * slice_bytes - slices * slice_bytes / 16;
  return LZ4_compress_fast(reinterpret_cast<const char*>(sample.data()), out.data(),
                           static_cast<int>(sample.size()), limit, 1) > 0;
}

std::optional<std::span<const std::byte>> compress(const PageFileOptions& options,
                                                   std::span<const std::byte> raw) {
  if (options.codec == Codec::none || raw.size() < 16 || !looks_compressible(raw)) return std::nullopt;
  thread_local std::vector<std::byte> buffer;
  if (buffer.size() < raw.size()) buffer.resize(raw.size());
  const auto out =
      std::span(buffer).first(raw.size() - raw.size() / 16);  // what does not fit is not worth it
  const std::size_t size = options.codec == Codec::zstd ? compress_zstd(options.level, raw, out)
                                                        : compress_lz4(options.level, raw, out);
  if (size == 0) return std::nullopt;
  return std::span<const std::byte>(out).first(size);
}

Status decompress(Codec codec, std::span<const std::byte> stored, std::span<std::byte> raw) {
  const Error damaged(Errc::bad_snapshot, "a compressed chunk is damaged");
  if (codec == Codec::zstd) {
    thread_local const DecompressContext context(ZSTD_createDCtx());
    if (!context) throw std::bad_alloc();
    if (ZSTD_decompressDCtx(context.get(), raw.data(), raw.size(), stored.data(), stored.size()) !=
        raw.size()) {
      return damaged;
    }
    return ok();
  }
  if (codec == Codec::lz4) {
    const int got =
        LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(raw.data()),
                            static_cast<int>(stored.size()), static_cast<int>(raw.size()));
    if (got != static_cast<int>(raw.size())) return damaged;
    return ok();
  }
  return damaged;
}

}  // namespace crs::store
