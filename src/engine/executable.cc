// SPDX-License-Identifier: Apache-2.0
#include "engine/executable.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cstring>

#include "os/file_io.h"

namespace crs {
namespace {

constexpr std::size_t longest_name = 4096;

template <class T>
bool read_at(int fd, T& value, std::uint64_t offset) {
  return static_cast<bool>(
      pread_exact(fd, std::as_writable_bytes(std::span(&value, 1)), offset, "a program"));
}

}  // namespace

bool executes_same_file(Pid pid, const std::string& path) {
  struct stat now {
  }, wanted{};
  return stat(("/proc/" + std::to_string(pid.v) + "/exe").c_str(), &now) == 0 &&
         stat(path.c_str(), &wanted) == 0 && now.st_dev == wanted.st_dev && now.st_ino == wanted.st_ino;
}

std::optional<std::string> interpreter_of(const std::string& path) {
  const auto file = open_file(path, O_RDONLY);
  Elf64_Ehdr header{};
  if (!file || !read_at(file->get(), header, 0) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return std::nullopt;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (!read_at(file->get(), part, header.e_phoff + i * sizeof part)) return std::nullopt;
    if (part.p_type != PT_INTERP) continue;
    if (part.p_filesz == 0 || part.p_filesz > longest_name) return std::nullopt;
    std::string name(part.p_filesz, '\0');
    if (!pread_exact(file->get(), std::as_writable_bytes(std::span(name)), part.p_offset, path))
      return std::nullopt;
    return name.substr(0, name.find('\0'));
  }
  return std::nullopt;
}

bool changes_credentials(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return true;
  return (status.st_mode & (S_ISUID | S_ISGID)) != 0 ||
         getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

}  // namespace crs
