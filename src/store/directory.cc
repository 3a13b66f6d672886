// SPDX-License-Identifier: Apache-2.0
#include "store/directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "os/file_io.h"

namespace crs::store {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

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
    return Error(Errc::storage, path + " is no directory").with_hint("choose another place with --store or -o");
  }
  if (errno != ENOENT) return Error::from_errno(errno, "look at " + path, Errc::storage);
  CRS_CHECK(make_directories(parent_of(path)));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Error::from_errno(errno, "make the directory " + path, Errc::storage)
        .with_hint("choose another place with --store or -o");
  }
  return ok();
}

Result<OwnedFd> open_directory(const std::string& path) { return open_file(path, O_RDONLY | O_DIRECTORY); }

Status sync(int fd, const std::string& what) {
  if (fsync(fd) != 0) {
    return Error::from_errno(errno, "make " + what + " durable", Errc::storage).with_hint("the disk may be full or damaged");
  }
  return ok();
}

Status remove_directory(const std::string& path) {
  const OwnedFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) {
    if (errno == ENOENT) return ok();
    return Error::from_errno(errno, "open " + path, Errc::storage);
  }
  CRS_TRY(const auto names, list_directory(path));
  for (const std::string& name : names) {
    if (unlinkat(directory.get(), name.c_str(), 0) != 0 && errno != ENOENT) {
      return Error::from_errno(errno, "remove " + path + "/" + name, Errc::storage);
    }
  }
  if (rmdir(path.c_str()) != 0 && errno != ENOENT) return Error::from_errno(errno, "remove " + path, Errc::storage);
  return ok();
}

}  // namespace crs::store
