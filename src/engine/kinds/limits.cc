// SPDX-License-Identifier: Apache-2.0
// Limits: what setrlimit(2) allows the process.
//
// What this file knows
//   They are set last, so that a tight limit on memory, file size or descriptors does not hinder the restart
//   itself. A hard limit above the restorer's can be had only with CAP_SYS_RESOURCE. That is tried from
//   outside, where the answer is seen; if refused, the process gets the restorer's hard limit, with a note.
//   RLIMIT_CPU counts the process's CPU time, which starts from zero after a restart: the limit stays the
//   same number.
//
// Kernel interfaces: prlimit(2).   Round trip: tests/targets/limits_*.cc
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "engine/kinds/limits.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::array<const char*, 16> names{
    "RLIMIT_CPU",      "RLIMIT_FSIZE",  "RLIMIT_DATA",    "RLIMIT_STACK", "RLIMIT_CORE",  "RLIMIT_RSS",
    "RLIMIT_NPROC",    "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS",    "RLIMIT_LOCKS", "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE", "RLIMIT_NICE",   "RLIMIT_RTPRIO",  "RLIMIT_RTTIME"};
static_assert(names.size() == RLIM_NLIMITS);

std::string to_text(std::uint64_t limit) {
  return limit == RLIM_INFINITY ? "unlimited" : std::to_string(limit);
}

class LimitsKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess&, Questions& questions) override {
    CallBatch& batch = questions.leader();
    for (std::size_t i = 0; i < names.size(); ++i) {
      answers_[i] = batch.out(sizeof(rlimit64));
      batch.call(std::string("prlimit of ") + names[i], SYS_prlimit64, 0, i, nullptr, answers_[i]);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto limit = context.answers.leader().value<rlimit64>(answers_[i]);
      auto& saved = *state_.add_limit();
      saved.set_resource(static_cast<std::uint32_t>(i));
      saved.set_soft(limit.rlim_cur);
      saved.set_hard(limit.rlim_max);
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& limit : state_.limit()) {
      if (limit.resource() >= names.size()) {
        return Error(Errc::bad_snapshot, "no limit has number " + std::to_string(limit.resource()));
      }
      if (limit.soft() > limit.hard()) {
        return Error(Errc::bad_snapshot, std::string(names[limit.resource()]) + " is above its hard limit");
      }
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    CallBatch& batch = context.leader();
    for (const auto& saved : state_.limit()) {
      const std::string name = names[saved.resource()];
      CRS_TRY(const std::uint64_t hard, raise_hard_limit(context, saved));
      const rlimit64 wanted{std::min<std::uint64_t>(saved.soft(), hard), hard};
      batch.call("prlimit of " + name, SYS_prlimit64, 0, saved.resource(), batch.in_value(wanted), nullptr);
    }
    return ok();
  }

  nlohmann::json describe() const override {
    nlohmann::json json = nlohmann::json::object();
    for (const auto& limit : state_.limit()) {
      json[names[limit.resource()]] = {{"soft", to_text(limit.soft())}, {"hard", to_text(limit.hard())}};
    }
    return json;
  }

 private:
  // The hard limit that the process will have; lowering one is left to the process itself.
  static Result<std::uint64_t> raise_hard_limit(RebuildContext& context, const state::ResourceLimit& saved) {
    const auto resource = static_cast<__rlimit_resource>(saved.resource());
    const std::string name = names[saved.resource()];
    rlimit64 now{};
    if (prlimit64(context.pid().v, resource, nullptr, &now) != 0)
      return Error::from_errno(errno, "prlimit of " + name);
    if (saved.hard() <= now.rlim_max) return saved.hard();
    const rlimit64 raised{now.rlim_cur, saved.hard()};
    if (prlimit64(context.pid().v, resource, &raised, nullptr) == 0) return saved.hard();
    std::string text =
        name + ": the hard limit is " + to_text(now.rlim_max) + " instead of " + to_text(saved.hard());
    if (saved.soft() > now.rlim_max) text += ", and so is the soft one instead of " + to_text(saved.soft());
    context.note(text + "; restart with a hard limit as high, or with the capability CAP_SYS_RESOURCE");
    return now.rlim_max;
  }

  std::array<CallBatch::Buffer, names.size()> answers_{};
  state::ResourceLimits state_;
};

}  // namespace

extern constinit const KindInfo kind_limits{
    .section = "limits", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<LimitsKind>();
    }};

}  // namespace crs
