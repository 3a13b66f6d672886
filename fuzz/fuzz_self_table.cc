// SPDX-License-Identifier: Apache-2.0
// The reader of what a program saves by itself: any bytes are a table or an error, and an accepted one is the
// same after it was written and read again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "gate/self_table.h"

namespace {

void look(std::string_view bytes) {
  const auto table = crs::decode_self_table(bytes);
  if (!table) return;
  const std::string written = crs::encode(*table);
  const auto again = crs::decode_self_table(written);
  if (!again || crs::encode(*again) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  look(bytes);

  // Bytes of a whole table, some of them changed.
  crs::SelfTable table;
  table.prefix = std::string(bytes.substr(0, 16));
  table.has_command = size % 2 != 0;
  table.arguments = {"program", std::string(bytes.substr(0, 40))};
  table.has_environment = size % 3 == 0;
  table.environment = {"A=" + std::string(bytes.substr(0, 8))};
  for (std::size_t i = 0; i < size % 5; ++i)
    table.parts.push_back({.name = std::to_string(i), .where = i << 20, .bytes = i * 4096});
  std::string whole = crs::encode(table);
  look(whole);
  for (std::size_t i = 0; i + 1 < size && i < 64; i += 2) {
    const std::size_t at = (data[i] | std::size_t{data[i + 1]} << 8) % whole.size();
    whole[at] = static_cast<char>(whole[at] ^ static_cast<char>(data[i + 1] | 1));
    look(whole);
  }
  return 0;
}
