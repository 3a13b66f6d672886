// SPDX-License-Identifier: Apache-2.0
// Directories of the store: made private, synced, removed whole.
#pragma once

#include <cstdint>
#include <string>

#include "os/owned_fd.h"
#include "os/result.h"
#include "store/checksum.h"

namespace crs::store {

// Every missing part of `path`, 0700.
Status make_directories(const std::string& path);
Result<OwnedFd> open_directory(const std::string& path);
Status sync(int fd, const std::string& what);
Status sync_directory(int fd, const std::string& what);
// The file of a snapshot that its writer creates first and holds locked by flock(2) as long as it lives; it
// goes last. A file and not the directory: NFS carries locks on files to other hosts, and those on
// directories to nobody.
inline constexpr const char* lock_name = "manifest.json";
// The directory and the plain files in it (a snapshot has no others); stays within it, follows no links.
Status remove_directory(const std::string& path);
// "DIRECTORY/NAME" of an open directory, for messages.
std::string path_in(int directory, const std::string& name);
// Adds what to do about a full disk, a quota, a limit or a file system that is read-only.
Error explain(Error error);
// Of the bytes from `offset` up to `size`, in pieces.
Result<Hash128> checksum_of_file(int fd, std::uint64_t offset, std::uint64_t size, const std::string& what);
// Removes a hidden directory whose writer is dead, which its lock tells. False when the writer lives, or
// where the file system has no locks and nobody can tell. True as well where nothing is at `path` any more:
// its writer committed or gave up.
bool remove_if_abandoned(const std::string& path);
std::string parent_of(const std::string& path);
std::string name_of(const std::string& path);
Result<std::string> absolute(const std::string& path);

}  // namespace crs::store
