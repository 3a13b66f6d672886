// SPDX-License-Identifier: Apache-2.0
#include "service/installation.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "os/file_io.h"

namespace crs {

std::string component_folder() {
  const auto program = read_link("/proc/self/exe");
  if (!program) return {};
  const auto folder = std::filesystem::path(*program).parent_path();
  return (folder / CRS_LIB_FROM_BIN / "crs/components").lexically_normal().string();
}

Result<std::string> find_library() {
  if (const char* chosen = std::getenv("CRS_LIBRARY"); chosen != nullptr && *chosen != '\0') {
    if (access(chosen, R_OK) != 0)
      return Error::from_errno(errno, "CRS_LIBRARY, " + std::string(chosen), Errc::not_found);
    return std::filesystem::absolute(chosen).string();
  }
  CRS_TRY(const auto program, read_link("/proc/self/exe"));
  const auto folder = std::filesystem::path(program).parent_path();
  for (const char* place : {"", CRS_LIB_FROM_BIN}) {
    const auto path = (folder / place / CRS_LIBRARY_NAME).lexically_normal();
    if (access(path.c_str(), R_OK) == 0) return path.string();
  }
  return Error(Errc::not_found, CRS_LIBRARY_NAME " is neither beside " + program + " nor in " +
                                    (folder / CRS_LIB_FROM_BIN).lexically_normal().string())
      .with_hint("install it beside crs, or set CRS_LIBRARY to its path");
}

}  // namespace crs
