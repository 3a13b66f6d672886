// SPDX-License-Identifier: Apache-2.0
#include "engine/active_kinds.h"

#include <algorithm>
#include <cstdlib>
#include <random>

namespace crs {

std::vector<ActiveKind> make_kinds(std::span<const KindInfo* const> table) {
  std::vector<ActiveKind> kinds;
  for (const KindInfo* info : table) kinds.push_back({info, info->make()});
  if (const char* seed = std::getenv("CRS_TEST_SHUFFLE_KINDS")) {
    std::mt19937 random(static_cast<unsigned>(std::strtoul(seed, nullptr, 10)));
    std::shuffle(kinds.begin(), kinds.end(), random);
  }
  return kinds;
}

}  // namespace crs
