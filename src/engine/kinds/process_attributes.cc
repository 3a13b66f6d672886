// SPDX-License-Identifier: Apache-2.0
// Process attributes: settings of prctl(2) and its like that change how the kernel treats the process.
//
// What this file knows
//   coredump_filter is a file in /proc; the rest is asked and set from inside. Child subreaper, THP, KSM and
//   the registrations of membarrier(2) belong to the process; timer slack, the policy after memory failures
//   and "I/O flusher" to each thread. A program that registered for membarrier(2) gets EPERM from its next
//   barrier if the registration is lost. MEMBARRIER_CMD_GET_REGISTRATIONS tells since Linux 6.3; before, a
//   private barrier is tried: EPERM means "not". PR_GET_IO_FLUSHER needs CAP_SYS_RESOURCE, as setting it
//   does: a thread that may not ask is taken for one that is not. A timer slack of 0 cannot be set (it means
//   "the default"); the kernel itself gives it to real-time threads.
// What it leaves to others
//   Attributes that confine the process or hide it (hardening.cc, credentials.cc), names (threads).
//
// Kernel interfaces: prctl(2), membarrier(2), proc(5).   Round trip: tests/targets/process_attributes_*.cc
#include <linux/membarrier.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "engine/kinds/process_attributes.pb.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
constexpr int membarrier_get_registrations = 1 << 9;

// What a barrier needs, and the registration that allows it.
struct Barrier {
  int command;
  int registration;
};
constexpr std::array<Barrier, 3> private_barriers{{
    {MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED},
    {MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE},
    {MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ},
}};
constexpr std::array<int, 4> registrations{
    MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
    MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ};

class ProcessAttributesKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    CallBatch& leader = questions.leader();
    subreaper_ = leader.out(sizeof(int));
    leader.call("PR_GET_CHILD_SUBREAPER", SYS_prctl, PR_GET_CHILD_SUBREAPER, subreaper_, 0, 0, 0);
    thp_disable_ = leader.try_call(SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
    memory_merge_ = leader.try_call(SYS_prctl, PR_GET_MEMORY_MERGE, 0, 0, 0, 0);
    membarrier_ = leader.try_call(SYS_membarrier, membarrier_get_registrations, 0, 0);
    for (std::size_t i = 0; can_only_try() && i < private_barriers.size(); ++i) {
      barriers_[i] = leader.try_call(SYS_membarrier, private_barriers[i].command, 0, 0);
    }
    for (const FrozenThread& thread : target.threads()) {
      CallBatch& batch = questions.thread(thread.ns_tid);
      threads_.push_back({.timer_slack = batch.try_call(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0),
                          .memory_failure = batch.try_call(SYS_prctl, PR_MCE_KILL_GET, 0, 0, 0, 0),
                          .io_flusher = batch.try_call(SYS_prctl, PR_GET_IO_FLUSHER, 0, 0, 0, 0)});
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    // Absent on kernels without core dumps.
    if (const auto filter = context.target.proc().read("coredump_filter"); filter) {
      std::string_view text = *filter;
      while (text.ends_with('\n')) text.remove_suffix(1);
      if (const auto bits = parse_number(text, 16); bits)
        state_.set_coredump_filter(static_cast<std::uint32_t>(*bits));
    }
    CallBatch& leader = context.answers.leader();
    state_.set_child_subreaper(leader.value<int>(subreaper_) != 0);
    state_.set_thp_disable(positive(leader.result(thp_disable_)));
    state_.set_memory_merge(leader.result(memory_merge_) > 0);
    state_.set_membarrier(collect_membarrier(leader));
    const auto threads = context.target.threads();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      CallBatch& batch = context.answers.thread(threads[i].ns_tid);
      auto& saved = *state_.add_thread();
      saved.set_thread(threads[i].ns_tid.v);
      const auto slack = batch.result(threads_[i].timer_slack);
      saved.set_timer_slack_ns(slack > 0 ? static_cast<std::uint64_t>(slack) : 0);
      if (const auto policy = batch.result(threads_[i].memory_failure); policy >= 0) {
        saved.set_memory_failure(static_cast<std::uint32_t>(policy));
      }
      saved.set_io_flusher(batch.result(threads_[i].io_flusher) > 0);
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    CRS_CHECK(check_thread_ids(state_.thread()));
    for (const auto& thread : state_.thread()) {
      if (thread.has_memory_failure() && thread.memory_failure() > PR_MCE_KILL_DEFAULT) {
        return Error(Errc::bad_snapshot, "an impossible memory failure policy");
      }
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    CallBatch& leader = context.leader();
    leader.call("PR_SET_CHILD_SUBREAPER", SYS_prctl, PR_SET_CHILD_SUBREAPER, state_.child_subreaper() ? 1 : 0,
                0, 0, 0);
    if (state_.thp_disable() != 0) {
      // Since Linux 6.18 the answer carries flags (PR_THP_DISABLE_EXCEPT_ADVISED) above bit 0.
      leader.call("PR_SET_THP_DISABLE", SYS_prctl, PR_SET_THP_DISABLE, 1, state_.thp_disable() & ~1u, 0, 0);
    }
    rebuild_memory_merge(context);
    rebuild_membarrier(context);
    if (state_.has_coredump_filter()) {
      const std::string path = "/proc/" + std::to_string(context.pid().v) + "/coredump_filter";
      if (const auto written = write_small_file(path, std::to_string(state_.coredump_filter())); !written) {
        context.note("the core dump filter is the default again: " + written.error().to_string());
      }
    }
    for (const auto& thread : state_.thread()) CRS_CHECK(rebuild_thread(context, thread));
    return ok();
  }

  nlohmann::json describe() const override {
    return {{"child_subreaper", state_.child_subreaper()},
            {"thp_disable", state_.thp_disable()},
            {"memory_merge", state_.memory_merge()},
            {"membarrier", state_.membarrier()}};
  }

 private:
  struct ThreadAnswers {
    CallBatch::CallId timer_slack, memory_failure, io_flusher;
  };

  static std::uint32_t positive(std::int64_t result) {
    return result > 0 ? static_cast<std::uint32_t>(result) : 0;
  }

  static bool can_only_try() { return syscall(SYS_membarrier, membarrier_get_registrations, 0, 0) < 0; }

  std::uint32_t collect_membarrier(const CallBatch& leader) const {
    if (!can_only_try()) return positive(leader.result(membarrier_));
    std::uint32_t found = 0;
    for (std::size_t i = 0; i < private_barriers.size(); ++i) {
      if (leader.result(barriers_[i]) == 0)
        found |= static_cast<std::uint32_t>(private_barriers[i].registration);
    }
    return found;
  }

  void rebuild_membarrier(RebuildContext& context) const {
    for (const int registration : registrations) {
      if ((state_.membarrier() & static_cast<std::uint32_t>(registration)) == 0) continue;
      context.leader().call("membarrier registration " + std::to_string(registration), SYS_membarrier,
                            registration, 0, 0);
    }
  }

  void rebuild_memory_merge(RebuildContext& context) const {
    if (!state_.memory_merge()) return;
    if (prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) < 0) {
      context.note("this kernel cannot merge equal pages of a whole process (KSM)");
      return;
    }
    context.leader().call("PR_SET_MEMORY_MERGE", SYS_prctl, PR_SET_MEMORY_MERGE, 1, 0, 0, 0);
  }

  static Status rebuild_thread(RebuildContext& context, const state::ThreadAttributes& thread) {
    CRS_TRY(CallBatch * batch, batch_of(context, NsPid(thread.thread())));
    if (thread.timer_slack_ns() != 0) {
      batch->call("PR_SET_TIMERSLACK", SYS_prctl, PR_SET_TIMERSLACK, thread.timer_slack_ns(), 0, 0, 0);
    }
    if (thread.has_memory_failure()) {
      // Kernels without memory failure handling answer EINVAL, and there the policy means nothing.
      batch->try_call(SYS_prctl, PR_MCE_KILL, PR_MCE_KILL_SET, thread.memory_failure(), 0, 0);
    }
    if (thread.io_flusher()) {
      if (prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) < 0) {
        context.note(
            "thread " + std::to_string(thread.thread()) +
            " is no I/O flusher (PR_SET_IO_FLUSHER) any more: that needs the capability CAP_SYS_RESOURCE");
      } else {
        batch->call("PR_SET_IO_FLUSHER", SYS_prctl, PR_SET_IO_FLUSHER, 1, 0, 0, 0);
      }
    }
    return ok();
  }

  CallBatch::Buffer subreaper_;
  CallBatch::CallId thp_disable_, memory_merge_, membarrier_;
  std::array<CallBatch::CallId, private_barriers.size()> barriers_{};
  std::vector<ThreadAnswers> threads_;
  state::ProcessAttributes state_;
};

}  // namespace

extern constinit const KindInfo kind_process_attributes{
    .section = "process_attributes", .phase = Phase::timers, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ProcessAttributesKind>();
    }};

}  // namespace crs
