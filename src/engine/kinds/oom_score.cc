// SPDX-License-Identifier: Apache-2.0
// OOM score: how willing the kernel is to end the process when memory runs out.
//
// What this file knows
//   /proc/PID/oom_score_adj of a restored process is inherited from the restorer. Raising it is free;
//   lowering it below the lowest value that a privileged process ever set needs CAP_SYS_RESOURCE, without
//   which it stays, with a note.
//
// Kernel interfaces: proc(5).   Round trip: tests/targets/oom_score_*.cc
#include <charconv>

#include "engine/kinds/oom_score.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr const char* entry = "oom_score_adj";
constexpr int lowest = -1000;
constexpr int highest = 1000;

Result<int> read_adjustment(const ProcDir& proc) {
  CRS_TRY(const std::string text, proc.read(entry));
  int value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
    return Error(Errc::kernel, "oom_score_adj: '" + text + "' is no number");
  }
  return value;
}

class OomScoreKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    CRS_TRY(const int adjustment, read_adjustment(context.target.proc()));
    state_.set_adjustment(adjustment);
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    if (state_.adjustment() < lowest || state_.adjustment() > highest) {
      return Error(Errc::bad_snapshot, "oom_score_adj is out of its range");
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    CRS_TRY(const ProcDir proc, ProcDir::open(context.pid()));
    CRS_TRY(const int now, read_adjustment(proc));
    if (now == state_.adjustment()) return ok();
    const auto written = write_small_file("/proc/" + std::to_string(context.pid().v) + "/" + entry,
                                          std::to_string(state_.adjustment()));
    if (!written) {
      context.note("oom_score_adj is " + std::to_string(now) + " instead of " +
                   std::to_string(state_.adjustment()) +
                   ": lowering it needs the capability CAP_SYS_RESOURCE");
    }
    return ok();
  }

  nlohmann::json describe() const override { return state_.adjustment(); }

 private:
  state::OomScore state_;
};

}  // namespace

extern constinit const KindInfo kind_oom_score{
    .section = "oom_score", .phase = Phase::timers, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<OomScoreKind>();
    }};

}  // namespace crs
