// SPDX-License-Identifier: Apache-2.0
// umask: the permission bits that new files do not get.
//
// What this file knows
//   /proc/PID/status tells it since Linux 4.7. Threads share it, unless one left with unshare(CLONE_FS),
//   which working_directory.cc refuses.
//
// Kernel interfaces: umask(2), proc(5).   Round trip: tests/targets/umask_*.cc
#include <sys/stat.h>

#include "engine/kinds/umask.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

class UmaskKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const auto mask = context.target.status().number("Umask", 8);
    if (!mask) return Error(Errc::unsupported, "/proc/PID/status has no Umask (Linux 4.7 and newer have)");
    state_.set_mask(static_cast<std::uint32_t>(*mask));
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    if (state_.mask() > 0777) return Error(Errc::bad_snapshot, "an impossible umask");
    return ok();
  }

  Status restore_inside(InsideContext&) override {
    ::umask(state_.mask());
    return ok();
  }

  nlohmann::json describe() const override {
    const std::uint32_t mask = state_.mask();
    return std::string{'0', static_cast<char>('0' + (mask >> 6)), static_cast<char>('0' + (mask >> 3 & 7)),
                       static_cast<char>('0' + (mask & 7))};
  }

 private:
  state::Umask state_;
};

}  // namespace

extern constinit const KindInfo kind_umask{
    .section = "umask", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<UmaskKind>();
    }};

}  // namespace crs
