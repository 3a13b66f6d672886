// SPDX-License-Identifier: Apache-2.0
// Devices: /dev/null, zero, full, random and urandom, which hold no state.
//
// Kernel interfaces: null(4), random(4), full(4).   Round trip: tests/targets/devices_*.cc
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/path_files.h"

namespace crs {
namespace {

class DevicesKind : public PathFilesKind {
 public:
  bool claims(const OpenFile& file) const override {
    return (file.flags & O_PATH) == 0 && is_stateless(file.status.st_mode, file.status.st_rdev);
  }

 protected:
  bool can_be_made(std::uint32_t mode, std::uint64_t device) const override {
    return is_stateless(mode, device);
  }

 private:
  static bool is_stateless(std::uint32_t mode, std::uint64_t device) {
    if (!S_ISCHR(mode) || major(device) != 1) return false;
    const unsigned which = minor(device);
    return which == 3 || which == 5 || which == 7 || which == 8 || which == 9;
  }
};

}  // namespace

extern constinit const KindInfo kind_devices{
    .section = "devices", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<DevicesKind>();
    }};

}  // namespace crs
