// SPDX-License-Identifier: Apache-2.0
// Checksums: XXH3-128, which finds damage; it is no defence against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct XXH3_state_s;

namespace crs::store {

struct Hash128 {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
  std::string to_hex() const;  // 32 digits, high first, as xxh128sum prints it
};
static_assert(sizeof(Hash128) == 16);

// Of pieces that come one after the other.
class Checksummer {
 public:
  Checksummer();
  void add(std::span<const std::byte> data);
  Hash128 result() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

Hash128 checksum_of(std::span<const std::byte> data);
Hash128 checksum_of(std::span<const std::span<std::byte>> pieces);

}  // namespace crs::store
