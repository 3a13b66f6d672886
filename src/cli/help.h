// SPDX-License-Identifier: Apache-2.0
// Help: the texts about the program as a whole.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace crs {

std::string program_summary();
std::string program_footer();  // exit status, where to read on
std::string version_text();
std::vector<const CommandInfo*> sorted_commands();  // by position, then name

}  // namespace crs
