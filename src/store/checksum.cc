// SPDX-License-Identifier: Apache-2.0
#include "store/checksum.h"

#include <xxhash.h>

#include <cstdio>
#include <new>

namespace crs::store {

std::string Hash128::to_hex() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

void Checksummer::Free::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

Checksummer::Checksummer() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Checksummer::add(std::span<const std::byte> data) {
  if (!data.empty()) XXH3_128bits_update(state_.get(), data.data(), data.size());
}

Hash128 Checksummer::result() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.low64, hash.high64};
}

Hash128 checksum_of(std::span<const std::byte> data) {
  const XXH128_hash_t hash = XXH3_128bits(data.data(), data.size());
  return {hash.low64, hash.high64};
}

Hash128 checksum_of(std::span<const std::span<std::byte>> pieces) {
  if (pieces.size() == 1) return checksum_of(std::span<const std::byte>(pieces[0]));
  Checksummer sum;
  for (const auto piece : pieces) sum.add(piece);
  return sum.result();
}

}  // namespace crs::store
