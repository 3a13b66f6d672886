// SPDX-License-Identifier: Apache-2.0
// Pending SIGCONT: the one signal that must be sent again after all others.
//
// What this file knows
//   A stop signal throws a pending SIGCONT out of all queues, and a batch of calls ends by a SIGSTOP to
//   itself: so SIGCONT comes in the last phase, whose batches do without. For the same reason it never pends
//   beside a stop signal, and being no real-time signal it is there once in a queue, so its place among the
//   others does not matter. It does not count against RLIMIT_SIGPENDING; beyond it only its data is lost.
// What it leaves to others
//   All other signals (pending_signals.cc).
//
// Kernel interfaces: rt_sigqueueinfo(2), signal(7).   Round trip: tests/targets/pending_signals_keep_a_*.cc
#include <signal.h>
#include <sys/syscall.h>

#include "engine/kinds/pending_continue.pb.h"
#include "engine/pending_queue.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

class PendingContinueKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    CRS_TRY(const PendingQueues queues, read_pending_queues(context.target));
    if (auto info = find(queues.shared); info) state_.set_shared(std::move(*info));
    for (const auto& each : queues.thread) {
      auto info = find(each.second);
      if (!info) continue;
      auto& saved = *state_.add_thread();
      saved.set_thread(each.first.v);
      saved.set_info(std::move(*info));
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    CRS_CHECK(check_thread_ids(state_.thread()));
    if (state_.has_shared()) CRS_CHECK(check_info(state_.shared()));
    for (const auto& thread : state_.thread()) CRS_CHECK(check_info(thread.info()));
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    if (state_.has_shared()) {
      CallBatch& batch = context.leader();
      batch.call("rt_sigqueueinfo of SIGCONT", SYS_rt_sigqueueinfo, context.ns_pid(), SIGCONT,
                 batch.in(as_bytes(state_.shared())));
    }
    for (const auto& thread : state_.thread()) {
      CRS_TRY(CallBatch * batch, batch_of(context, NsPid(thread.thread())));
      batch->call("rt_tgsigqueueinfo of SIGCONT", SYS_rt_tgsigqueueinfo, context.ns_pid(), thread.thread(),
                  SIGCONT, batch->in(as_bytes(thread.info())));
    }
    return ok();
  }

  nlohmann::json describe() const override { return state_.has_shared() || state_.thread_size() > 0; }

 private:
  static std::optional<std::string> find(const std::vector<siginfo_t>& queue) {
    const auto found = std::ranges::find(queue, SIGCONT, &siginfo_t::si_signo);
    if (found == queue.end()) return std::nullopt;
    return std::string(reinterpret_cast<const char*>(&*found), sizeof *found);
  }

  static Status check_info(const std::string& info) {
    int signal = 0;
    if (info.size() == sizeof(siginfo_t)) std::memcpy(&signal, info.data(), sizeof signal);
    if (signal != SIGCONT) return Error(Errc::bad_snapshot, "a pending SIGCONT that is none");
    return ok();
  }

  state::PendingContinue state_;
};

}  // namespace

extern constinit const KindInfo kind_pending_continue{
    .section = "pending_continue", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PendingContinueKind>();
    }};

}  // namespace crs
