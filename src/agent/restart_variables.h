// SPDX-License-Identifier: Apache-2.0
// Restart variables: what the one who restarts this process tells it, by `crs restart --env`.
//
// What this file knows
//   The restart writes NAME=VALUE one behind the other, each with a NUL, into room that is here for it
//   (gate/control_page.h), before the process runs. Nobody writes there while it does.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace crs::agent {

inline constexpr std::size_t variables_size = 64 * 1024;  // bytes

std::span<char> variables_room();
// With a NUL behind it; null: it was not told. Async-signal-safe.
const char* find_variable(std::string_view name);

}  // namespace crs::agent
