// SPDX-License-Identifier: Apache-2.0
#include "engine/pending_queue.h"

#include <sys/ptrace.h>

#include <array>
#include <cerrno>

namespace crs {
namespace {

constexpr int last_signal = 64;

constexpr std::uint64_t bit(int signal) {
  return std::uint64_t{1} << (signal - 1);
}

enum class Queue : std::uint32_t { thread = 0, shared = PTRACE_PEEKSIGINFO_SHARED };

// `set`: the pending set, read before, so that what came in between has an entry.
Result<std::vector<siginfo_t>> read_queue(Tid tid, Queue queue, std::uint64_t set) {
  std::vector<siginfo_t> all;
  std::array<siginfo_t, 64> some{};
  for (long count = 1; count != 0;) {
    __ptrace_peeksiginfo_args arguments{all.size(), static_cast<std::uint32_t>(queue),
                                        static_cast<std::int32_t>(some.size())};
    count = ptrace(PTRACE_PEEKSIGINFO, tid.v, &arguments, some.data());
    if (count < 0) {
      const int error = errno;
      return Error::from_errno(error, "PTRACE_PEEKSIGINFO of " + to_string(tid),
                               error == ESRCH ? Errc::target_gone : Errc::kernel);
    }
    all.insert(all.end(), some.begin(), some.begin() + count);
  }
  for (const siginfo_t& info : all) set &= ~bit(info.si_signo);
  for (int signal = 1; signal <= last_signal; ++signal) {
    if ((set & bit(signal)) == 0) continue;
    siginfo_t info{};
    info.si_signo = signal;
    info.si_code = SI_USER;
    all.push_back(info);
  }
  return all;
}

}  // namespace

Result<PendingQueues> read_pending_queues(const FrozenProcess& process) {
  PendingQueues queues;
  CRS_TRY(const ProcFields status, process.proc().status());
  CRS_TRY(queues.shared,
          read_queue(process.threads().front().tid, Queue::shared, status.number("ShdPnd", 16).value_or(0)));
  for (const FrozenThread& thread : process.threads()) {
    CRS_TRY(const ProcDir task, process.proc().open_task(thread.tid));
    CRS_TRY(const ProcFields task_status, task.status());
    CRS_TRY(auto own, read_queue(thread.tid, Queue::thread, task_status.number("SigPnd", 16).value_or(0)));
    if (!own.empty()) queues.thread[thread.ns_tid] = std::move(own);
  }
  return queues;
}

}  // namespace crs
