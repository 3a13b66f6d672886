// SPDX-License-Identifier: Apache-2.0
#include "agent/prelaunch.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "service/program.h"

namespace crs::agent {
namespace {

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
  CRS_TRY(const Program program, look_at_program(*app));
  CRS_CHECK(check_savable(program));
  CRS_CHECK(set_variable(env, "CRS_RANK", std::to_string(rank)));
  if (store != nullptr) CRS_CHECK(set_variable(env, "CRS_STORE", store));
  return ok();
}

}  // namespace crs::agent
