// SPDX-License-Identifier: Apache-2.0
// The reader of the memory table, which lies in somebody else's process: any bytes are wishes or an error.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "gate/memory_table.h"

namespace {

void look(std::span<const std::byte> memory) {
  constexpr std::uint64_t base = 0x10000;
  const auto read = [&](crs::RemoteAddr from, std::span<std::byte> out) -> crs::Status {
    if (from.v < base || from.v - base > memory.size() || out.size() > memory.size() - (from.v - base))
      return crs::Error(crs::Errc::kernel, "nothing is mapped there");
    if (!out.empty()) std::memcpy(out.data(), memory.data() + (from.v - base), out.size());
    return crs::ok();
  };
  const auto wishes = crs::read_memory_table(base, read);
  if (!wishes) return;
  for (const auto& wish : *wishes) {
    if (wish.use == crs::MemoryUse::unused || wish.start >= wish.end) std::abort();
    for (const char c : wish.label) {
      if (static_cast<unsigned char>(c) < 0x20) std::abort();  // what a terminal would obey
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  look(bytes);

  // A fuzzer seldom finds the number that a table begins with, nor a count that fits.
  std::vector<std::byte> table(std::max(size, sizeof(crs::MemoryTable)));
  std::ranges::copy(bytes, table.begin());
  const std::uint64_t magic = crs::memory_table_magic;
  const auto rows = static_cast<std::uint32_t>(table.size() / sizeof(crs::MemoryRow) - 1);
  std::memcpy(table.data(), &magic, sizeof magic);
  std::memcpy(table.data() + 8, &rows, sizeof rows);
  std::memcpy(table.data() + 12, &rows, sizeof rows);
  look(table);
  return 0;
}
