// SPDX-License-Identifier: Apache-2.0
// Section file (state.pb): named sections, each with its own checksum.
//
// What this file knows
//   "CRSTATE1", then for each section: u32 length of the name, u64 length of the content, XXH3-128 of name and content,
//   name, content. Little endian. docs/snapshot-format.md, "State".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/result.h"

namespace crs::store {

using Section = std::pair<std::string, std::string>;  // name, content

std::string write_sections(const std::vector<Section>& sections);
// errors: bad_snapshot; believes no length.
Result<std::vector<Section>> parse_sections(std::string_view bytes, std::string_view where);

}  // namespace crs::store
