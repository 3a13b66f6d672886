// SPDX-License-Identifier: Apache-2.0
// Mapping count: whether a restart will be allowed as many mappings as it needs.
//
// What this file knows
//   vm.max_map_count limits the mappings of each process, root's as well, to 65530 unless set otherwise. A
//   restored process has for a while those of crs beside its own, about 70, and mremap(2) wants some in
//   reserve. A program with nearly as many as are allowed could be saved and never be brought back, so it is
//   refused at the checkpoint as well as at the restart.
//
// Kernel interfaces: proc(5) maps, sys/vm/max_map_count.   Round trip: tests/targets/mapping_count_*.cc
#include <unistd.h>

#include <limits>

#include "engine/kinds/mapping_count.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();  // the kernel counts in an int
constexpr std::uint64_t reserve = 32;  // what allocations and threads of crs may add until then

// What a restart needs beyond the limit, or 0: our own mappings are as many as its.
Result<std::uint64_t> too_many_by(std::uint64_t mappings) {
  const auto text = read_file("/proc/sys/vm/max_map_count");
  const auto limit = text ? parse_number(std::string_view(*text).substr(0, text->find('\n'))) : std::nullopt;
  if (!limit || mappings < *limit / 2) return std::uint64_t{0};
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const auto own, self.maps());
  const std::uint64_t wanted = mappings + own.size() + reserve;
  return wanted > *limit ? wanted - *limit : 0;
}

class MappingCountKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    state_.set_mappings(context.target.vmas().size());
    return refuse_too_many(context.blockers);
  }

  Result<std::string> save() const override { return to_section(state_); }
  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    if (state_.mappings() > most) return Error(Errc::bad_snapshot, "the number of mappings is impossible");
    return ok();
  }
  Status check(CheckContext& context) override { return refuse_too_many(context.blockers); }
  Result<bool> can_rewind_from(std::string_view) const override { return true; }
  nlohmann::json describe() const override { return {{"mappings", state_.mappings()}}; }

 private:
  Status refuse_too_many(Blockers& blockers) const {
    CRS_TRY(const std::uint64_t excess, too_many_by(state_.mappings()));
    if (excess == 0) return ok();
    blockers.add(std::to_string(state_.mappings()) + " mappings",
                 "a restart needs " + std::to_string(excess) +
                     " more for a moment than this system allows a process (vm.max_map_count)",
                 "raise the limit: sysctl vm.max_map_count=" + std::to_string(2 * state_.mappings()));
    return ok();
  }

  state::MappingCount state_;
};

}  // namespace

extern constinit const KindInfo kind_mapping_count{
    .section = "mapping_count", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<MappingCountKind>();
    }};

}  // namespace crs
