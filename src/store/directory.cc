// SPDX-License-Identifier: Apache-2.0
#include "store/directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>

#include "os/file_io.h"

namespace crs::store {
namespace {

constexpr const char* another_place = "choose another place with --store or -o";

}  // namespace

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::string path_in(int directory, const std::string& name) {
  if (directory == AT_FDCWD) return name;
  const auto path = read_link("/proc/self/fd/" + std::to_string(directory));
  return path ? *path + "/" + name : name;
}

Error explain(Error error) {
  switch (error.error_number()) {
    case ENOSPC:
      return std::move(error).with_hint("the disk is full: free space, or " + std::string(another_place));
    case EDQUOT:
      return std::move(error).with_hint("your disk quota is used up: free space, or " +
                                        std::string(another_place));
    case EFBIG:
      return std::move(error).with_hint("raise the limit on file size (ulimit -f), or " +
                                        std::string(another_place));
    case EROFS:
    case EACCES:
    case EPERM: return std::move(error).with_hint(another_place);
    default: return error;
  }
}

Result<Hash128> checksum_of_file(int fd, std::uint64_t offset, std::uint64_t size, const std::string& what) {
  Checksummer sum;
  Bytes buffer(std::min<std::uint64_t>(size - offset, 1u << 20));
  while (offset < size) {
    const auto piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - offset));
    CRS_CHECK(pread_exact(fd, piece, offset, what));
    sum.add(piece);
    offset += piece.size();
  }
  return sum.result();
}

Result<std::string> absolute(const std::string& path) {
  std::string whole = path;
  if (path.empty() || path[0] != '/') {
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) == nullptr) return Error::from_errno(errno, "getcwd");
    whole = std::string(here) + "/" + path;
  }
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  return whole;
}

Status make_directories(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return ok();
    return Error(Errc::storage, path + " is no directory").with_hint(another_place);
  }
  if (errno != ENOENT) return explain(Error::from_errno(errno, "look at " + path, Errc::storage));
  const std::string parent = parent_of(path);
  CRS_CHECK(make_directories(parent));
  if (mkdir(path.c_str(), 0700) == 0) {
    // A snapshot is only as durable as the names that lead to it.
    if (chmod(path.c_str(), 0700) != 0) return Error::from_errno(errno, "chmod " + path, Errc::storage);
    CRS_TRY(const OwnedFd directory, open_directory(parent));
    return sync_directory(directory.get(), parent);
  }
  if (errno == EEXIST) return ok();
  return explain(Error::from_errno(errno, "make the directory " + path, Errc::storage));
}

Result<OwnedFd> open_directory(const std::string& path) {
  return open_file(path, O_RDONLY | O_DIRECTORY);
}

Status sync(int fd, const std::string& what) {
  if (fsync(fd) == 0) return ok();
  const int error_number = errno;
  return explain(Error::from_errno(error_number, "make " + what + " durable", Errc::storage));
}

Status sync_directory(int fd, const std::string& what) {
  auto status = sync(fd, what);
  // Some network and FUSE file systems know no fsync(2) of directories; their renames are durable or never
  // will be.
  if (!status && (status.error().error_number() == EINVAL || status.error().error_number() == ENOSYS))
    return ok();
  return status;
}

Status remove_directory(const std::string& path) {
  const OwnedFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) {
    if (errno == ENOENT) return ok();
    return Error::from_errno(errno, "open " + path, Errc::storage);
  }
  CRS_TRY(const auto names, list_directory(path));
  for (const std::string& name : names) {
    if (name == lock_name) continue;  // last: whoever holds it keeps others from starting on this as well
    if (unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
      return Error::from_errno(errno, "remove " + path + "/" + name, Errc::storage);
    }
  }
  if (unlinkat(directory.get(), lock_name, 0) != 0 && errno != ENOENT) {
    return Error::from_errno(errno, "remove " + path + "/" + lock_name, Errc::storage);
  }
  if (rmdir(path.c_str()) != 0 && errno != ENOENT)
    return Error::from_errno(errno, "remove " + path, Errc::storage);
  return ok();
}

bool remove_if_abandoned(const std::string& path) {
  OwnedFd lock;
  for (int attempt = 0; attempt < 2 && !lock; ++attempt) {
    const OwnedFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return errno == ENOENT;
    lock = OwnedFd(openat(directory.get(), lock_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (lock) break;
    if (errno != ENOENT) return false;
    // Its writer is about to make the file, and will find the directory gone and make another; or it died
    // here.
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) return true;
  }
  if (lock && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return false;
  return remove_directory(path).has_value();
}

}  // namespace crs::store
