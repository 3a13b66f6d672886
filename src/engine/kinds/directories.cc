// SPDX-License-Identifier: Apache-2.0
// Directories: open ones, with how far getdents(2) has read.
//
// What this file knows
//   The position is the file system's own cookie; it is put back as it is, which common file systems honour.
//   A deleted one is empty for ever, and is made anew; so is one that is open by a path handle, since both
//   may be the same.
//
// Kernel interfaces: open(2), lseek(2), getdents(2).   Round trip: tests/targets/directories_*.cc
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "engine/path_files.h"

namespace crs {
namespace {

class DirectoriesKind : public PathFilesKind {
 public:
  bool claims(const OpenFile& file) const override {
    if (!S_ISDIR(file.status.st_mode) || file.path.starts_with("/proc/")) return false;
    return (file.flags & O_PATH) == 0 || file.status.st_nlink == 0;
  }

 protected:
  std::uint32_t allowed_flags() const override { return PathFilesKind::allowed_flags() | O_PATH; }
  bool can_be_made(std::uint32_t mode, std::uint64_t) const override { return S_ISDIR(mode); }
  Status after_open(int fd, const state::PathFile& file) override {
    if (file.position() != 0 && lseek(fd, file.position(), SEEK_SET) < 0) {
      return Error::from_errno(errno, "go to the old position in " + file.path());
    }
    return ok();
  }
};

}  // namespace

extern constinit const KindInfo kind_directories{
    .section = "directories", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<DirectoriesKind>();
    }};

}  // namespace crs
