// SPDX-License-Identifier: Apache-2.0
#include "gate/program_text.h"

namespace crs {

std::string program_text(std::string_view text) {
  constexpr const char* digits = "0123456789abcdef";
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
    } else {
      shown.append("\\x").append(1, digits[byte / 16]).append(1, digits[byte % 16]);
    }
  }
  return shown;
}

}  // namespace crs
