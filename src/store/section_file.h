// SPDX-License-Identifier: Apache-2.0
// Section file (state.pb): named sections, each with its own checksum.
//
// What this file knows
//   "CRSTATE1", then for each section a header of 32 bytes, its name and its content; no padding, little
//   endian. docs/snapshot-format.md, "State file". A name is 1 to 64 characters: letters, digits, '.', '_',
//   '-'.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/result.h"

namespace crs::store {

using Section = std::pair<std::string, std::string>;  // name, content

bool valid_section_name(std::string_view name);
// Calls `put` with one piece of the file after the other, so that nothing is copied. Names are valid and
// differ.
template <class Put>
Status write_sections(const std::vector<Section>& sections, Put put);
std::string sections_text(const std::vector<Section>& sections);  // all pieces as one
// errors: bad_snapshot; believes no length.
Result<std::vector<Section>> parse_sections(std::string_view bytes, std::string_view where);

// --- Details ---
inline constexpr std::string_view section_file_magic = "CRSTATE1";
std::string section_header(const Section& section);

template <class Put>
Status write_sections(const std::vector<Section>& sections, Put put) {
  CRS_CHECK(put(section_file_magic));
  for (const Section& section : sections) {
    CRS_CHECK(put(section_header(section)));
    CRS_CHECK(put(section.first));
    CRS_CHECK(put(section.second));
  }
  return ok();
}

}  // namespace crs::store
