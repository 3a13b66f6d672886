// Commands: one file each, found by name.
#pragma once

#include <span>

namespace crs {

struct CommandInfo {
  const char* name;
};

// The table made by CMake from the names src/cli/cmd_*.cc.
std::span<const CommandInfo* const> builtin_commands();

}  // namespace crs
