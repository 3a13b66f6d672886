// SPDX-License-Identifier: Apache-2.0
#include "agent/prelaunch.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "os/file_io.h"

namespace crs::agent {
namespace {

constexpr int deepest_script = 4;  // the kernel follows as many interpreters

// What stands in the way of saving a process of this program later.
Status look_at(const std::string& program, int depth) {
  CRS_TRY(const OwnedFd file, open_file(program, O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return Error::from_errno(errno, "stat " + program);
  if (!S_ISREG(status.st_mode)) return Error(Errc::refused, program + " is no regular file");
  if (access(program.c_str(), X_OK) != 0) return Error::from_errno(errno, "run " + program);
  if ((status.st_mode & (S_ISUID | S_ISGID)) != 0 && geteuid() != 0) {
    return Error(Errc::refused,
                 program + " runs with another user's privileges (set-user-id), and only root can save it")
        .with_hint("run crs as root, or use a program without that bit");
  }
  char head[256] = {};
  const ssize_t length = pread(file.get(), head, sizeof head - 1, 0);
  if (length < 0) return Error::from_errno(errno, "read " + program);
  if (head[0] == '#' && head[1] == '!') {
    if (depth == deepest_script)
      return Error(Errc::refused, program + " is a script of a script of a script");
    std::string line(head + 2, strcspn(head + 2, "\n"));
    line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
    return look_at(line.substr(0, line.find_first_of(" \t")), depth + 1).context(program);
  }
  Elf64_Ehdr header{};
  static_assert(sizeof header <= sizeof head);
  std::memcpy(&header, head, sizeof header);
  if (length < static_cast<ssize_t>(sizeof header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
    return Error(Errc::refused, program + " is neither a program nor a script with an interpreter");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
    return Error(Errc::refused, program + " is no 64-bit program for x86_64, and only such can be saved");
  }
  return ok();
}

// Sets NAME=VALUE in a malloc'ed environment.
Status set_variable(char*** env, const std::string& name, const std::string& value) {
  const std::string entry = name + "=" + value;
  char* const copy = strdup(entry.c_str());
  if (copy == nullptr) return Error::from_errno(ENOMEM, "set " + name);
  std::size_t count = 0;
  for (; *env != nullptr && (*env)[count] != nullptr; ++count) {
    if (std::strncmp((*env)[count], entry.c_str(), name.size() + 1) != 0) continue;
    free((*env)[count]);
    (*env)[count] = copy;
    return ok();
  }
  auto* const longer = static_cast<char**>(realloc(*env, (count + 2) * sizeof(char*)));
  if (longer == nullptr) {
    free(copy);
    return Error::from_errno(ENOMEM, "set " + name);
  }
  longer[count] = copy;
  longer[count + 1] = nullptr;
  *env = longer;
  return ok();
}

}  // namespace

Status prelaunch(std::int32_t rank, const char* store, char** app, char** cwd, char*** argv, char*** env) {
  if (app == nullptr || *app == nullptr || argv == nullptr || *argv == nullptr || env == nullptr)
    return Error(Errc::usage, "prelaunch needs a program, its arguments and an environment");
  if (cwd != nullptr && *cwd != nullptr) {
    struct stat status {};
    if (stat(*cwd, &status) != 0) return Error::from_errno(errno, *cwd, Errc::not_found);
    if (!S_ISDIR(status.st_mode)) return Error(Errc::usage, std::string(*cwd) + " is no directory");
  }
  CRS_CHECK(look_at(*app, 0));
  CRS_CHECK(set_variable(env, "CRS_RANK", std::to_string(rank)));
  if (store != nullptr) CRS_CHECK(set_variable(env, "CRS_STORE", store));
  return ok();
}

}  // namespace crs::agent
