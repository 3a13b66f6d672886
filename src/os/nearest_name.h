// SPDX-License-Identifier: Apache-2.0
// Nearest name: what somebody meant who wrote a name that does not exist.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace crs {

// How many characters must be put in, taken out or replaced to make one the other.
std::size_t edit_distance(std::string_view a, std::string_view b);
// Of all names the nearest to `name`, if it is near enough to be meant (a third of its length, or 2).
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> names);

}  // namespace crs
