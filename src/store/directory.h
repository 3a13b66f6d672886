// SPDX-License-Identifier: Apache-2.0
// Directories of the store: made private, synced, removed whole.
#pragma once

#include <string>

#include "os/owned_fd.h"
#include "os/result.h"

namespace crs::store {

// Every missing part of `path`, 0700.
Status make_directories(const std::string& path);
Result<OwnedFd> open_directory(const std::string& path);
Status sync(int fd, const std::string& what);
// The directory and the plain files in it (a snapshot has no others); stays within it, follows no links.
Status remove_directory(const std::string& path);
std::string parent_of(const std::string& path);
std::string name_of(const std::string& path);
Result<std::string> absolute(const std::string& path);

}  // namespace crs::store
