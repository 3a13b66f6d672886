// SPDX-License-Identifier: Apache-2.0
// Agent variables: how a program is told that it takes part by a preloaded libcrs.
//
// What this file knows
//   LD_PRELOAD loads the library, CRS_AGENT=1 makes it join; each of them alone does nothing. The loader
//   takes spaces and colons in LD_PRELOAD for separators, and there is no way to quote one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "os/result.h"

namespace crs {

inline constexpr const char* agent_variable = "CRS_AGENT";
inline constexpr const char* agent_value = "1";

// Sets NAME=VALUE in an environment.
void set_variable(std::vector<std::string>& environment, std::string_view name, std::string_view value);

// Both variables, keeping what LD_PRELOAD has. errors: unsupported, for a path that LD_PRELOAD cannot hold.
Status add_agent(std::vector<std::string>& environment, const std::string& library);

}  // namespace crs
