// SPDX-License-Identifier: Apache-2.0
#include "service/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "os/elf_file.h"
#include "os/file_io.h"

namespace crs {
namespace {

constexpr int deepest_script = 4;  // the kernel follows as many interpreters
constexpr const char* our_loader = "ld-linux-x86-64.so.2";

// What the file gives whoever runs it, or nullptr.
const char* privileges_of(int fd, const struct stat& status) {
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid())
    return "another user's privileges (set-user-id)";
  const mode_t as_group = S_ISGID | S_IXGRP;
  if ((status.st_mode & as_group) == as_group && status.st_gid != getegid())
    return "another group's privileges (set-group-id)";
  if (fgetxattr(fd, "security.capability", nullptr, 0) > 0) return "capabilities of its file";
  return nullptr;
}

Result<Program> look_at_elf(const std::string& path, int fd, const Elf64_Ehdr& header,
                            const struct stat& status) {
  Program program{.path = path, .loader = {}, .why_not_saved = {}, .why_not_preloaded = {}};
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
    program.why_not_saved = path + " is no 64-bit program for x86_64, and only such can be saved";
    program.why_not_preloaded = path + " is no 64-bit program for x86_64, and libcrs is one";
    return program;
  }
  program.loader = read_interpreter(fd, header).value_or("");
  if (const char* privileges = privileges_of(fd, status); privileges != nullptr && geteuid() != 0) {
    const std::string runs = path + " runs with " + privileges;
    program.why_not_saved = runs + ", and only root can save it";
    program.why_not_preloaded = runs + ", and the loader preloads nothing into such a program";
  } else if (program.loader.empty()) {
    program.why_not_preloaded = path + " is linked statically, and nothing can be preloaded into it";
  } else if (program.loader.substr(program.loader.rfind('/') + 1) != our_loader) {
    program.why_not_preloaded =
        path + " uses another C library (" + program.loader + ") than libcrs, which cannot be preloaded";
  }
  return program;
}

Result<Program> look_at(const std::string& path, int depth) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    const Errc code = errno == ENOENT || errno == ENOTDIR ? Errc::not_found : Errc::permission;
    Error error = Error::from_errno(errno, path);
    return std::move(error.set_code(code));
  }
  if (!S_ISREG(status.st_mode)) {
    Error error(Errc::permission, path + " is no regular file");
    return std::move(error.set_errno(EACCES));
  }
  if (access(path.c_str(), X_OK) != 0) return Error::from_errno(errno, "run " + path);
  auto file = open_file(path, O_RDONLY | O_CLOEXEC);
  if (!file) {  // it can be run nevertheless, and the kernel makes such a process one that cannot be traced
    if (geteuid() == 0 || file.error().code() != Errc::permission) return std::move(file).error();
    const std::string why = path + " may be run and not read";
    return Program{path, {}, why + ", and only root can save it", why + ", so what it is is not known"};
  }
  char head[256] = {};
  const ssize_t length = pread(file->get(), head, sizeof head - 1, 0);
  if (length < 0) return Error::from_errno(errno, "read " + path);
  if (head[0] == '#' && head[1] == '!') {
    if (depth == deepest_script) {
      Error error(Errc::permission, path + " is a script of a script of a script");
      return std::move(error.set_errno(ELOOP));
    }
    std::string line(head + 2, strcspn(head + 2, "\n"));
    line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
    return look_at(line.substr(0, line.find_first_of(" \t")), depth + 1).context(path);
  }
  Elf64_Ehdr header{};
  static_assert(sizeof header < sizeof head);
  std::memcpy(&header, head, sizeof header);
  if (length < static_cast<ssize_t>(sizeof header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    Error error(Errc::refused, path + " is neither a program nor a script with an interpreter");
    return std::move(error.set_errno(ENOEXEC));
  }
  return look_at_elf(path, file->get(), header, status);
}

}  // namespace

Result<Program> look_at_program(const std::string& path) {
  return look_at(path, 0);
}

Status check_savable(const Program& program) {
  if (program.why_not_saved.empty()) return ok();
  return Error(Errc::refused, program.why_not_saved);
}

}  // namespace crs
