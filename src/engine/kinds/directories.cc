// SPDX-License-Identifier: Apache-2.0
// Directories: open ones, with how far getdents(2) has read.
//
// What this file knows
//   The position is the file system's own cookie; it is put back as it is, which common file systems honour.
//
// Kernel interfaces: open(2), lseek(2), getdents(2).   Round trip: tests/targets/directories_*.cc
#include <unistd.h>

#include <cerrno>

#include "engine/path_files.h"

namespace crs {
namespace {

class DirectoriesKind : public PathFilesKind {
 public:
  bool claims(const OpenFile& file) const override {
    return S_ISDIR(file.status.st_mode) && (file.flags & O_PATH) == 0 && !file.path.starts_with("/proc/");
  }

 protected:
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
