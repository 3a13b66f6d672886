// SPDX-License-Identifier: Apache-2.0
#include "agent/restart_variables.h"

#include <algorithm>
#include <array>

namespace crs::agent {
namespace {

// Zeros that were never touched take no memory.
std::array<char, variables_size> room{};

}  // namespace

std::span<char> variables_room() {
  return room;
}

const char* find_variable(std::string_view name) {
  for (std::string_view rest(room.data(), room.size() - 1); !rest.empty() && rest.front() != '\0';) {
    const std::string_view variable = rest.substr(0, rest.find('\0'));
    if (variable.size() > name.size() && variable.starts_with(name) && variable[name.size()] == '=')
      return variable.data() + name.size() + 1;
    rest.remove_prefix(std::min(variable.size() + 1, rest.size()));
  }
  return nullptr;
}

}  // namespace crs::agent
