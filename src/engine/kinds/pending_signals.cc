// SPDX-License-Identifier: Apache-2.0
// Pending signals: those sent and not yet delivered, with their data and in their order.
//
// What this file knows
//   A siginfo with the code of a kernel's own signal may be queued only by its receiver: rt_sigqueueinfo(2)
//   by the leader to its own pid, rt_tgsigqueueinfo(2) by each thread to itself. Real-time signals count
//   against RLIMIT_SIGPENDING, so they are queued before the limits are set. A pending SIGSTOP cannot be
//   blocked and would stop the restored process in the middle of its batch. It is there only if someone sent
//   it while the process was frozen; it is left out, with a note. A pending SIGKILL ends the target.
// What it leaves to others
//   SIGCONT, which must come later (pending_continue.cc). What a program told to wait for signals sees
//   (signalfd, sigtimedwait): the calls are made again.
//
// Kernel interfaces: rt_sigqueueinfo(2).   Round trip: tests/targets/pending_signals_*.cc
#include <signal.h>
#include <sys/syscall.h>

#include "engine/kinds/pending_signals.pb.h"
#include "engine/pending_queue.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

constexpr int last_signal = 64;
constexpr std::size_t info_size = 128;  // bytes of a siginfo_t, on every Linux
static_assert(sizeof(siginfo_t) == info_size);
constexpr int most_signals = 1 << 20;  // more than any RLIMIT_SIGPENDING that a machine can hold

bool is_left_out(int signal) {
  return signal == SIGKILL || signal == SIGSTOP || signal == SIGCONT;
}

int signal_of(const std::string& info) {
  int signal = 0;
  std::memcpy(&signal, info.data(), sizeof signal);  // si_signo is the first field
  return signal;
}

class PendingSignalsKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    CRS_TRY(const PendingQueues queues, read_pending_queues(context.target));
    for (std::string& info : select(context, queues.shared)) state_.add_shared(std::move(info));
    for (const auto& each : queues.thread) {
      auto& saved = *state_.add_thread();
      saved.set_thread(each.first.v);
      for (std::string& info : select(context, each.second)) saved.add_info(std::move(info));
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    CRS_CHECK(check_thread_ids(state_.thread()));
    CRS_CHECK(check_queue(state_.shared()));
    for (const auto& thread : state_.thread()) CRS_CHECK(check_queue(thread.info()));
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    for (const std::string& info : state_.shared()) {
      CallBatch& batch = context.leader();
      batch.call("rt_sigqueueinfo of signal " + std::to_string(signal_of(info)), SYS_rt_sigqueueinfo,
                 context.ns_pid(), signal_of(info), batch.in(as_bytes(info)));
    }
    for (const auto& thread : state_.thread()) {
      CRS_TRY(CallBatch * batch, batch_of(context, NsPid(thread.thread())));
      for (const std::string& info : thread.info()) {
        batch->call("rt_tgsigqueueinfo of signal " + std::to_string(signal_of(info)), SYS_rt_tgsigqueueinfo,
                    context.ns_pid(), thread.thread(), signal_of(info), batch->in(as_bytes(info)));
      }
    }
    return ok();
  }

  nlohmann::json describe() const override {
    auto list = nlohmann::json::array();
    for (const auto& info : state_.shared()) list.push_back({{"signal", signal_of(info)}});
    for (const auto& thread : state_.thread()) {
      for (const auto& info : thread.info()) {
        list.push_back({{"signal", signal_of(info)}, {"thread", thread.thread()}});
      }
    }
    return list;
  }

 private:
  static std::vector<std::string> select(CollectContext& context, const std::vector<siginfo_t>& queue) {
    std::vector<std::string> saved;
    for (const siginfo_t& info : queue) {
      if (info.si_signo == SIGSTOP) {
        context.blockers.note("a SIGSTOP that was sent during the checkpoint is not part of the snapshot");
      }
      if (!is_left_out(info.si_signo)) saved.emplace_back(reinterpret_cast<const char*>(&info), sizeof info);
    }
    return saved;
  }

  template <class Infos>
  static Status check_queue(const Infos& infos) {
    if (infos.size() > most_signals) return Error(Errc::bad_snapshot, "too many pending signals");
    for (const std::string& info : infos) {
      if (info.size() != info_size) {
        return Error(Errc::bad_snapshot, "a pending signal of " + std::to_string(info.size()) + " bytes");
      }
      const int signal = signal_of(info);
      if (signal < 1 || signal > last_signal || is_left_out(signal)) {
        return Error(Errc::bad_snapshot, "a pending signal with number " + std::to_string(signal));
      }
    }
    return ok();
  }

  state::PendingSignals state_;
};

}  // namespace

extern constinit const KindInfo kind_pending_signals{
    .section = "pending_signals", .phase = Phase::timers, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PendingSignalsKind>();
    }};

}  // namespace crs
