// SPDX-License-Identifier: Apache-2.0
// Path handles: descriptors opened with O_PATH, of whatever is there.
//
// What this file knows
//   A handle of a symbolic link was opened with O_NOFOLLOW, and is again; the kernel reports that flag.
//
// Kernel interfaces: open(2) O_PATH.   Round trip: tests/targets/path_handles_*.cc
#include <fcntl.h>
#include <sys/stat.h>

#include "engine/path_files.h"

namespace crs {
namespace {

class PathHandlesKind : public PathFilesKind {
 public:
  bool claims(const OpenFile& file) const override {
    if (S_ISDIR(file.status.st_mode) && file.status.st_nlink == 0) return false;  // directories.cc
    return (file.flags & O_PATH) != 0 && !file.path.empty() && file.path[0] == '/' &&
           !file.path.starts_with("/proc/");
  }

 protected:
  bool can_be_made(std::uint32_t mode, std::uint64_t) const override { return S_ISLNK(mode); }
  std::uint32_t allowed_flags() const override { return O_PATH | O_DIRECTORY | O_NOFOLLOW | O_LARGEFILE; }
};

}  // namespace

extern constinit const KindInfo kind_path_handles{
    .section = "path_handles", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PathHandlesKind>();
    }};

}  // namespace crs
