// SPDX-License-Identifier: Apache-2.0
#include "engine/staging_area.h"

#include <algorithm>

#include "engine/memory_map.h"

namespace crs {

using state::Mapping;

namespace {

constexpr std::uint64_t large_reservation = std::uint64_t{1} << 30;
constexpr std::uint64_t search_from = std::uint64_t{1} << 40;
constexpr std::uint64_t search_end = 0x7ff000000000;
constexpr std::uint64_t huge_page = 2u << 20;

// Where x86-64 puts a position-independent program, and its libraries and stack: Linux 6.1 with
// vm.mmap_rnd_bits=28, Debian's setting, which moves each of them by 1 TiB at most.
constexpr std::uint64_t tebibyte = std::uint64_t{1} << 40;
constexpr PageRange restorers_own[] = {{0x555555554000, 0x555555554000 + tebibyte + (tebibyte >> 4)},
                                       {search_end - tebibyte - (tebibyte >> 4), search_end}};

bool is_made_in_place(const Mapping& mapping) {
  // Without contents, and yet locked in: what was in it was left out of the snapshot.
  if ((mapping.flags() & mapping_locked) != 0) return false;
  return mapping.type() == Mapping::ANONYMOUS && mapping.name() != "/dev/zero" && !mapping.has_content() &&
         mapping.end() - mapping.start() >= large_reservation;
}

}  // namespace

StagingArea StagingArea::lay_out(const state::MemoryMap& map) {
  StagingArea area;
  std::uint64_t at = landing_size;
  for (const Mapping& mapping : map.mappings()) {
    area.places.push_back(0);
    if (mapping.type() == Mapping::VDSO || is_made_in_place(mapping)) continue;
    const std::uint64_t size = mapping.end() - mapping.start();
    std::uint64_t place = at + page_size;
    // The same place within 2 MiB, so that huge pages stay possible after the move.
    if (size >= huge_page) {
      place = (place & ~(huge_page - 1)) + mapping.start() % huge_page;
      if (place < at + page_size) place += huge_page;
    }
    area.places.back() = place;
    at = place + size;
  }
  for (const auto& object : map.objects()) {
    area.object_places.push_back(at + page_size);
    at += page_size + object.size();
  }
  area.size = page_up(at + page_size);
  return area;
}

std::optional<std::uint64_t> StagingArea::find_room(const state::MemoryMap& map,
                                                    std::span<const PageRange> others) const {
  std::vector<PageRange> taken(others.begin(), others.end());
  for (const Mapping& mapping : map.mappings()) taken.push_back({mapping.start(), mapping.end()});
  std::ranges::sort(taken, {}, &PageRange::start);
  std::uint64_t from = search_from;
  for (const PageRange& range : taken) {
    if (range.end <= from) continue;
    if (range.start >= from && range.start - from > size + huge_page) break;
    from = (range.end + 2 * huge_page) & ~(huge_page - 1);
  }
  if (from + size > search_end) return std::nullopt;
  return from;
}

bool StagingArea::will_find_room(const state::MemoryMap& map) const {
  return find_room(map, restorers_own).has_value();
}

}  // namespace crs
