// SPDX-License-Identifier: Apache-2.0
#include "engine/obstacles.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace crs {

std::optional<Obstacle> find_obstacle(const std::string& name) {
  struct stat status {};
  const int error = stat(name.c_str(), &status) == 0 ? 0 : errno;
  if (error == 0 || error == ENOENT || error == ENOTDIR) return std::nullopt;
  if (error == ENAMETOOLONG) return too_long_a_name();
  return Obstacle{"crs cannot reach it by its name: " + std::string(std::strerror(error)),
                  error == EACCES ? "allow the search of the directories above it, or run crs as root"
                                  : "make it reachable by its name"};
}

Obstacle too_long_a_name() {
  return {"its name, from the root directory on, is longer than a path may be (4095 bytes)",
          "let the program work in a directory with a shorter name"};
}

}  // namespace crs
