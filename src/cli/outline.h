// SPDX-License-Identifier: Apache-2.0
// Outline: JSON as indented lines for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace crs {

// {"threads": [{"id": 7, "name": "a"}]} as
//   threads
//     - id 7, name a
// An object or list of plain values that fits is one line.
std::string outline(const nlohmann::json& value);

// A word as a shell would need it quoted, where it needs that.
std::string shell_word(std::string_view word);

}  // namespace crs
