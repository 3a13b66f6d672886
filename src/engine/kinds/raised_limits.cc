// SPDX-License-Identifier: Apache-2.0
// Raised limits: what a half-made process may use before it gets the program's own limits.
//
// What this file knows
//   The soft limits of the restarting shell (memory, file size, descriptors, locked memory) are not the
//   program's, and need not suffice to rebuild it. Everyone may raise a soft limit to the hard one. limits.cc
//   sets the saved ones at the end.
//
// Kernel interfaces: setrlimit(2).   Round trip: tests/targets/limits_*.cc
#include <sys/resource.h>

#include <cerrno>

#include "engine/resource_kind.h"

namespace crs {
namespace {

class RaisedLimitsKind : public ResourceKind {
 public:
  Status collect(CollectContext&) override { return ok(); }
  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }

  Status restore_inside(InsideContext&) override {
    for (int number = 0; number < RLIM_NLIMITS; ++number) {
      const auto resource = static_cast<__rlimit_resource>(number);
      rlimit limit{};
      if (getrlimit(resource, &limit) != 0) return Error::from_errno(errno, "getrlimit");
      if (limit.rlim_cur == limit.rlim_max) continue;
      limit.rlim_cur = limit.rlim_max;
      if (setrlimit(resource, &limit) != 0) return Error::from_errno(errno, "setrlimit");
    }
    return ok();
  }
};

}  // namespace

extern constinit const KindInfo kind_raised_limits{
    .section = "raised_limits", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<RaisedLimitsKind>();
    }};

}  // namespace crs
