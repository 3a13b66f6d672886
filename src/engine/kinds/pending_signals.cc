// SPDX-License-Identifier: Apache-2.0
// Pending signals: those sent and not yet delivered, with their data and in their order.
//
// What this file knows
//   One queue belongs to the process and one to each thread; PTRACE_PEEKSIGINFO reads both without taking
//   anything out. A signal that found no memory for a queue entry (or that went over RLIMIT_SIGPENDING) is
//   only a bit in SigPnd or ShdPnd of /proc/PID/status; the kernel delivers it as SI_USER from pid 0, and so
//   it is saved. A siginfo with the code of a kernel's own signal may be queued only by its receiver:
//   rt_sigqueueinfo(2) by the leader to its own pid, rt_tgsigqueueinfo(2) by each thread to itself. Stop
//   signals and SIGCONT throw each other out of all queues when they are sent, so both can never be saved. A
//   batch ends by a SIGSTOP to itself, which would throw out a SIGCONT: hence the last phase. A pending
//   SIGSTOP cannot be blocked and would stop the restored process in the middle of its batch. It is there
//   only if someone sent it while the process was frozen; it is left out, with a note. A pending SIGKILL ends
//   the target.
// What it leaves to others
//   What a program told to wait for them sees (signalfd, sigtimedwait): the calls are made again.
//
// Kernel interfaces: ptrace(2), rt_sigqueueinfo(2), proc(5).   Round trip: tests/targets/pending_signals_*.cc
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "engine/kinds/pending_signals.pb.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

constexpr int last_signal = 64;
constexpr std::size_t info_size = 128;  // bytes of a siginfo_t, on every Linux
static_assert(sizeof(siginfo_t) == info_size);
constexpr int most_signals = 1 << 20;  // more than any RLIMIT_SIGPENDING that a machine can hold

constexpr std::uint64_t bit(int signal) {
  return std::uint64_t{1} << (signal - 1);
}

enum class Queue : std::uint32_t { thread = 0, shared = PTRACE_PEEKSIGINFO_SHARED };

// Only the thread that seized the target may call this.
Result<std::vector<siginfo_t>> peek(Tid tid, Queue queue) {
  std::vector<siginfo_t> all;
  std::array<siginfo_t, 64> some{};
  for (;;) {
    __ptrace_peeksiginfo_args arguments{all.size(), static_cast<std::uint32_t>(queue),
                                        static_cast<std::int32_t>(some.size())};
    const long count = ptrace(PTRACE_PEEKSIGINFO, tid.v, &arguments, some.data());
    if (count < 0) {
      const int error = errno;
      return Error::from_errno(error, "PTRACE_PEEKSIGINFO of " + to_string(tid),
                               error == ESRCH ? Errc::target_gone : Errc::kernel);
    }
    if (count == 0) return all;
    all.insert(all.end(), some.begin(), some.begin() + count);
  }
}

class PendingSignalsKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    // The sets are read before the queues: what comes in between has an entry, so a bit without one never had
    // any.
    CRS_TRY(const ProcFields status, context.target.proc().status());
    CRS_TRY(auto shared, collect_queue(context, context.target.threads().front().tid, Queue::shared,
                                       status.number("ShdPnd", 16).value_or(0)));
    for (auto& info : shared) state_.add_shared(std::move(info));
    for (const FrozenThread& thread : context.target.threads()) {
      CRS_TRY(const ProcDir task, context.target.proc().open_task(thread.tid));
      CRS_TRY(const ProcFields task_status, task.status());
      CRS_TRY(auto own, collect_queue(context, thread.tid, Queue::thread,
                                      task_status.number("SigPnd", 16).value_or(0)));
      if (own.empty()) continue;
      auto& saved = *state_.add_thread();
      saved.set_thread(thread.ns_tid.v);
      for (auto& info : own) saved.add_info(std::move(info));
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
  static int signal_of(const std::string& info) {
    int signal = 0;
    std::memcpy(&signal, info.data(), sizeof signal);  // si_signo is the first field
    return signal;
  }

  Result<std::vector<std::string>> collect_queue(CollectContext& context, Tid tid, Queue queue,
                                                 std::uint64_t pending) const {
    CRS_TRY(auto infos, peek(tid, queue));
    std::uint64_t without_entry = pending;
    for (const siginfo_t& info : infos) without_entry &= ~bit(info.si_signo);
    for (int signal = 1; signal <= last_signal; ++signal) {
      if ((without_entry & bit(signal)) == 0) continue;
      siginfo_t info{};
      info.si_signo = signal;
      info.si_code = SI_USER;
      infos.push_back(info);
    }
    std::vector<std::string> saved;
    for (const siginfo_t& info : infos) {
      if (info.si_signo == SIGKILL) continue;
      if (info.si_signo == SIGSTOP) {
        context.blockers.note("a SIGSTOP that was sent during the checkpoint is not part of the snapshot");
        continue;
      }
      saved.emplace_back(reinterpret_cast<const char*>(&info), sizeof info);
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
      if (signal < 1 || signal > last_signal || signal == SIGKILL || signal == SIGSTOP) {
        return Error(Errc::bad_snapshot, "a pending signal with number " + std::to_string(signal));
      }
    }
    return ok();
  }

  state::PendingSignals state_;
};

}  // namespace

extern constinit const KindInfo kind_pending_signals{
    .section = "pending_signals", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PendingSignalsKind>();
    }};

}  // namespace crs
