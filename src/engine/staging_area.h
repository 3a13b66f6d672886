// SPDX-License-Identifier: Apache-2.0
// Staging area: where a restart prepares the program's memory before it is moved to its own addresses.
//
// What this file knows
//   It is one free range, which neither the saved mappings nor the restorer use. It holds a landing for the
//   engine's batches, a place for each mapping that is made before it is moved, and one for each shared
//   object. Mappings that hold nothing and are large are not made there but in place: reservations of
//   terabytes fit once, not always twice. So a program whose other mappings spread over more than half of the
//   address space cannot be brought back, and that can be told before it is saved.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/memory_map.pb.h"
#include "engine/page_scan.h"

namespace crs {

struct StagingArea {
  static constexpr std::uint64_t landing_size = 16u << 20;

  // Offsets from the start of the area, in the order of the map. 0: the mapping is made in place.
  std::vector<std::uint64_t> places;
  std::vector<std::uint64_t> object_places;
  std::uint64_t size = 0;

  static StagingArea lay_out(const state::MemoryMap& map);

  // A range of the area's size between the saved mappings and `others`; nullopt: there is none.
  std::optional<std::uint64_t> find_room(const state::MemoryMap& map,
                                         std::span<const PageRange> others) const;

  // Whether there will be room in a restorer, wherever the kernel puts its program, libraries and stack.
  bool will_find_room(const state::MemoryMap& map) const;
};

}  // namespace crs
