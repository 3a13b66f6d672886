// SPDX-License-Identifier: Apache-2.0
#include "store/section_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "os/file_io.h"
#include "store/checksum.h"

namespace crs::store {
namespace {

constexpr std::string_view magic = "CRSTATE1";
constexpr std::size_t longest_name = 64;
constexpr std::size_t most_sections = 4096;

struct SectionHeader {
  std::uint32_t name_bytes;
  std::uint32_t reserved;  // zero
  std::uint64_t content_bytes;
  Hash128 checksum;        // of this header with a zero checksum, name, content
};
static_assert(sizeof(SectionHeader) == 32);

Hash128 checksum_with(SectionHeader header, std::string_view rest) {
  header.checksum = {};
  std::string all(reinterpret_cast<const char*>(&header), sizeof header);
  all += rest;
  return checksum_of(as_bytes(all));
}

}  // namespace

std::string write_sections(const std::vector<Section>& sections) {
  std::string bytes(magic);
  for (const auto& [name, content] : sections) {
    SectionHeader header{static_cast<std::uint32_t>(name.size()), 0, content.size(), {}};
    header.checksum = checksum_with(header, name + content);
    bytes.append(reinterpret_cast<const char*>(&header), sizeof header);
    bytes += name;
    bytes += content;
  }
  return bytes;
}

Result<std::vector<Section>> parse_sections(std::string_view bytes, std::string_view where) {
  const auto bad = [&](const std::string& what) { return Error(Errc::bad_snapshot, std::string(where) + ": " + what); };
  if (!bytes.starts_with(magic)) return bad("it is no file of sections, or damaged");
  bytes.remove_prefix(magic.size());
  std::vector<Section> sections;
  while (!bytes.empty()) {
    SectionHeader header{};
    if (bytes.size() < sizeof header) return bad("it is cut short");
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes.remove_prefix(sizeof header);
    if (header.name_bytes == 0 || header.name_bytes > longest_name || header.reserved != 0) return bad("a section's name is damaged");
    if (bytes.size() < header.name_bytes || bytes.size() - header.name_bytes < header.content_bytes) {
      return bad("it is cut short");
    }
    const std::string_view whole = bytes.substr(0, header.name_bytes + header.content_bytes);
    std::string name(whole.substr(0, header.name_bytes));
    if (checksum_with(header, whole) != header.checksum) return bad("section '" + name + "' is damaged (checksum)");
    if (std::ranges::any_of(sections, [&](const Section& other) { return other.first == name; })) {
      return bad("section '" + name + "' stands there twice");
    }
    sections.emplace_back(std::move(name), std::string(whole.substr(header.name_bytes)));
    if (sections.size() > most_sections) return bad("too many sections");
    bytes.remove_prefix(whole.size());
  }
  return sections;
}

}  // namespace crs::store
