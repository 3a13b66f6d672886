// SPDX-License-Identifier: Apache-2.0
#include "store/section_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "os/file_io.h"
#include "store/checksum.h"

namespace crs::store {
namespace {

constexpr std::size_t longest_name = 64;
constexpr std::size_t most_sections = 4096;

struct SectionHeader {
  std::uint32_t name_bytes;
  std::uint32_t reserved;  // zero
  std::uint64_t content_bytes;
  Hash128 checksum;  // of this header with a zero checksum, name, content
};
static_assert(sizeof(SectionHeader) == 32);

Hash128 checksum_with(SectionHeader header, std::string_view name, std::string_view content) {
  header.checksum = {};
  Checksummer sum;
  sum.add(std::as_bytes(std::span(&header, 1)));
  sum.add(as_bytes(name));
  sum.add(as_bytes(content));
  return sum.result();
}

}  // namespace

bool valid_section_name(std::string_view name) {
  return !name.empty() && name.size() <= longest_name && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

std::string section_header(const Section& section) {
  SectionHeader header{static_cast<std::uint32_t>(section.first.size()), 0, section.second.size(), {}};
  header.checksum = checksum_with(header, section.first, section.second);
  return std::string(reinterpret_cast<const char*>(&header), sizeof header);
}

std::string sections_text(const std::vector<Section>& sections) {
  std::string text;
  (void)write_sections(sections, [&](std::string_view piece) {
    text += piece;
    return ok();
  });
  return text;
}

Result<std::vector<Section>> parse_sections(std::string_view bytes, std::string_view where) {
  const auto bad = [&](const std::string& what) {
    return Error(Errc::bad_snapshot, std::string(where) + ": " + what);
  };
  if (!bytes.starts_with(section_file_magic))
    return bad("it is no file of sections, or damaged at its start");
  bytes.remove_prefix(section_file_magic.size());
  std::vector<Section> sections;
  while (!bytes.empty()) {
    SectionHeader header{};
    if (bytes.size() < sizeof header) return bad("it was cut short");
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes.remove_prefix(sizeof header);
    if (header.name_bytes == 0 || header.name_bytes > longest_name || header.reserved != 0) {
      return bad("the header of section " + std::to_string(sections.size() + 1) + " is damaged");
    }
    if (bytes.size() < header.name_bytes || bytes.size() - header.name_bytes < header.content_bytes) {
      return bad("it was cut short, or the header of section " + std::to_string(sections.size() + 1) +
                 " is damaged");
    }
    const std::string_view name = bytes.substr(0, header.name_bytes);
    const std::string_view content = bytes.substr(header.name_bytes, header.content_bytes);
    if (checksum_with(header, name, content) != header.checksum) {
      return bad("section '" + (valid_section_name(name) ? std::string(name) : std::string("?")) +
                 "' is damaged (checksum)");
    }
    if (!valid_section_name(name)) return bad("a section has an impossible name");
    if (std::ranges::find(sections, name, &Section::first) != sections.end()) {
      return bad("section '" + std::string(name) + "' stands there twice");
    }
    if (sections.size() == most_sections) return bad("too many sections");
    sections.emplace_back(name, content);
    bytes.remove_prefix(name.size() + content.size());
  }
  return sections;
}

}  // namespace crs::store
