// SPDX-License-Identifier: Apache-2.0
#include "engine/executable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "os/elf_file.h"
#include "os/file_io.h"

namespace crs {
bool executes_same_file(Pid pid, const std::string& path) {
  struct stat now {
  }, wanted{};
  return stat(("/proc/" + std::to_string(pid.v) + "/exe").c_str(), &now) == 0 &&
         stat(path.c_str(), &wanted) == 0 && now.st_dev == wanted.st_dev && now.st_ino == wanted.st_ino;
}

std::optional<std::string> interpreter_of(const std::string& path) {
  const auto file = open_file(path, O_RDONLY);
  if (!file) return std::nullopt;
  const auto header = read_elf_header(file->get());
  return header ? read_interpreter(file->get(), *header) : std::nullopt;
}

bool changes_credentials(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return true;
  return (status.st_mode & (S_ISUID | S_ISGID)) != 0 ||
         getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

}  // namespace crs
