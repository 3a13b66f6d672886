// SPDX-License-Identifier: Apache-2.0
#include "os/elf_file.h"

#include <cstring>
#include <span>

#include "os/file_io.h"

namespace crs {
namespace {

constexpr std::size_t longest_name = 4096;

bool read_at(int fd, std::span<std::byte> into, std::uint64_t offset) {
  return static_cast<bool>(pread_exact(fd, into, offset, "an ELF file"));
}

}  // namespace

std::optional<Elf64_Ehdr> read_elf_header(int fd) {
  Elf64_Ehdr header{};
  if (!read_at(fd, std::as_writable_bytes(std::span(&header, 1)), 0) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
    return std::nullopt;
  return header;
}

std::optional<std::vector<Elf64_Phdr>> read_program_headers(int fd, const Elf64_Ehdr& header) {
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return std::nullopt;
  std::vector<Elf64_Phdr> parts(header.e_phnum);
  if (!read_at(fd, std::as_writable_bytes(std::span(parts)), header.e_phoff)) return std::nullopt;
  return parts;
}

std::optional<std::string> read_interpreter(int fd, const Elf64_Ehdr& header) {
  const auto parts = read_program_headers(fd, header);
  if (!parts) return std::nullopt;
  for (const Elf64_Phdr& part : *parts) {
    if (part.p_type != PT_INTERP) continue;
    if (part.p_filesz == 0 || part.p_filesz > longest_name) return std::nullopt;
    std::string name(part.p_filesz, '\0');
    if (!read_at(fd, std::as_writable_bytes(std::span(name)), part.p_offset)) return std::nullopt;
    return name.substr(0, name.find('\0'));
  }
  return std::nullopt;
}

}  // namespace crs
