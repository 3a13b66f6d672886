// SPDX-License-Identifier: Apache-2.0
// Program text: names that a program gave, as they are shown to somebody else.
//
// What this file knows
//   Labels of critical sections, memory regions, hooks and threads, and what a program answers about them,
//   reach the terminal and the logs of whoever asks for a checkpoint, perhaps another user. A line break
//   among them would begin a line of its own, which looks like one of ours. So every control character is
//   shown as what it is: \x0a.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

namespace crs {

std::string program_text(std::string_view text);
// Of a field with a NUL somewhere, or none.
template <std::size_t size>
std::string program_text(const char (&field)[size]) {
  return program_text(std::string_view(field, strnlen(field, size)));
}

}  // namespace crs
