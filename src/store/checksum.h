// SPDX-License-Identifier: Apache-2.0
// Checksums: XXH3-128, which finds damage; it is no defence against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace crs::store {

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
  std::string to_hex() const;  // 32 digits, high first
};
static_assert(sizeof(Hash128) == 16);

Hash128 checksum_of(std::span<const std::byte> data);
// Of several pieces, one after the other.
Hash128 checksum_of(std::span<const std::span<std::byte>> pieces);

}  // namespace crs::store
