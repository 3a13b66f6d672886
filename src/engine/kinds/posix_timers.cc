// SPDX-License-Identifier: Apache-2.0
// POSIX timers: the timers of timer_create(2), under their old ids.
//
// What this file knows
//   /proc/PID/timers lists id, signal, value, notification and clock, newest first; its thread numbers are
//   those of the reader's pid namespace. What remains of the time can be asked only from inside. What is
//   saved is the time that remains, also of timers that were set to a point in time (TIMER_ABSTIME): the
//   kernel does not tell which those are.
//   The id is the kernel's choice: prctl(PR_TIMER_CREATE_RESTORE_IDS), since Linux 6.15, lets us choose.
//   Before that a process counts its timers from 0 and never gives an id twice, so the gaps are filled by
//   timers made and deleted. CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID become CPU clocks of "pid
//   0". For a thread's clock that means the thread that made the timer, and nobody tells which: with several
//   threads it is taken for the one that is signalled, else it is a blocker. It is made again by the leader
//   as that thread's clock by its id. A timer that signals a thread which has ended prints thread 0 and never
//   does anything again: SIGEV_NONE. The count of timer_getoverrun(2) cannot be set and starts from 0: a
//   note, where it was not 0.
// What it leaves to others
//   A signal that a timer has already sent (pending_signals.cc).
//
// Kernel interfaces: timer_create(2), proc(5), prctl(2).   Round trip: tests/targets/posix_timers_*.cc
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>

#include "engine/kinds/posix_timers.pb.h"
#include "engine/pending_queue.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON 1
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr int last_signal = 64;
constexpr int most_gaps = 1 << 16;  // ids that are filled one by one on a kernel that cannot choose them
constexpr int most_timers = 1 << 20;

struct KernelSigevent {
  std::uint64_t value = 0;
  std::int32_t signal = 0;
  std::int32_t notify = 0;
  std::int32_t thread = 0;
  std::byte padding[44]{};
};
static_assert(sizeof(KernelSigevent) == 64);

struct KernelItimerspec {
  std::int64_t interval_s = 0, interval_ns = 0;
  std::int64_t value_s = 0, value_ns = 0;
};

// A clock id of a process's or thread's CPU time: ~pid in the upper 29 bits, then "is a thread's", then what
// is counted.
constexpr std::int32_t cpu_clock_thread_bit = 4;
constexpr std::int32_t cpu_clock_kind_mask = 3;  // 0 profiling, 1 virtual, 2 scheduler; 3 is a device's clock
bool is_cpu_clock(std::int32_t clock) {
  return clock < 0 && (clock & cpu_clock_kind_mask) != 3;
}
pid_t cpu_clock_pid(std::int32_t clock) {
  return static_cast<pid_t>(~(clock >> 3));
}
std::int32_t cpu_clock(pid_t pid, std::int32_t low_bits) {
  return static_cast<std::int32_t>((~static_cast<std::uint32_t>(pid) << 3) |
                                   static_cast<std::uint32_t>(low_bits));
}

// One entry of /proc/PID/timers, numbers as printed there.
struct ListedTimer {
  std::int32_t id = 0;
  std::uint32_t signal = 0;
  std::uint64_t value = 0;
  std::uint32_t notify = SIGEV_SIGNAL;
  pid_t receiver = 0;
  std::int32_t clock = 0;
};

std::optional<std::int64_t> parse_signed(std::string_view text) {
  const bool negative = text.starts_with('-');
  const auto magnitude = parse_number(negative ? text.substr(1) : text);
  if (!magnitude || *magnitude > INT32_MAX) return std::nullopt;
  return negative ? -static_cast<std::int64_t>(*magnitude) : static_cast<std::int64_t>(*magnitude);
}

// "ID: 2\nsignal: 34/0000123456789abc\nnotify: signal/tid.16758\nClockID: 1\n", repeated.
Result<std::vector<ListedTimer>> parse_timers(std::string_view text) {
  std::vector<ListedTimer> timers;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size() - 1);
    const std::string_view line = text.substr(0, end + (text[end] == '\n' ? 0 : 1));
    text.remove_prefix(end + 1);
    const auto colon = line.find(": ");
    const auto unknown = [&] {
      return Error(Errc::kernel, "a line of /proc/PID/timers: '" + std::string(line) + "'");
    };
    if (colon == std::string_view::npos) return unknown();
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = line.substr(colon + 2);
    if (key == "ID") {
      const auto id = parse_signed(value);
      if (!id) return unknown();
      timers.push_back({.id = static_cast<std::int32_t>(*id)});
      continue;
    }
    if (timers.empty()) return unknown();
    ListedTimer& timer = timers.back();
    if (key == "signal") {
      const auto slash = value.find('/');
      if (slash == std::string_view::npos) return unknown();
      const auto signal = parse_number(value.substr(0, slash));
      const auto data = parse_number(value.substr(slash + 1), 16);
      if (!signal || !data) return unknown();
      timer.signal = static_cast<std::uint32_t>(*signal);
      timer.value = *data;
    } else if (key == "notify") {
      const auto slash = value.find('/');
      const auto dot = value.find('.');
      if (slash == std::string_view::npos || dot == std::string_view::npos || dot < slash) return unknown();
      const auto how = value.substr(0, slash);
      const auto receiver = parse_signed(value.substr(dot + 1));
      if (!receiver) return unknown();
      timer.receiver = static_cast<pid_t>(*receiver);
      if (how == "signal")
        timer.notify = SIGEV_SIGNAL;
      else if (how == "none")
        timer.notify = SIGEV_NONE;
      else if (how == "thread")
        timer.notify = SIGEV_THREAD;
      else
        return unknown();
      if (value.substr(slash + 1, dot - slash - 1) == "tid") timer.notify |= SIGEV_THREAD_ID;
    } else if (key == "ClockID") {
      const auto clock = parse_signed(value);
      if (!clock) return unknown();
      timer.clock = static_cast<std::int32_t>(*clock);
    }
  }
  std::ranges::sort(timers, {}, &ListedTimer::id);
  return timers;
}

bool kernel_restores_ids() {
  return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

// Whether this process may make timers of this clock (the alarm clocks need a capability and a device).
int try_clock(std::int32_t clock) {
  KernelSigevent event{.notify = SIGEV_NONE};
  std::int32_t id = 0;
  if (syscall(SYS_timer_create, clock, &event, &id) != 0) return errno;
  syscall(SYS_timer_delete, id);
  return 0;
}

class PosixTimersKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    auto text = target.proc().read("timers");
    if (!text && text.error().code() == Errc::not_found) {
      cannot_list_ = true;
      return ok();
    }
    if (!text) return std::move(text).error();
    CRS_TRY(listed_, parse_timers(*text));
    CallBatch& batch = questions.leader();
    for (const ListedTimer& timer : listed_) {
      times_.push_back(batch.out(sizeof(KernelItimerspec)));
      batch.call("timer_gettime of timer " + std::to_string(timer.id), SYS_timer_gettime, timer.id,
                 times_.back());
      overruns_.push_back(batch.try_call(SYS_timer_getoverrun, timer.id));
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    if (cannot_list_) {
      context.blockers.note(
          "this kernel does not list POSIX timers (CONFIG_CHECKPOINT_RESTORE); if the program has "
          "any, they are not part of the snapshot");
    }
    CRS_TRY(const auto waiting, with_signal_waiting(context.target));
    CallBatch& batch = context.answers.leader();
    for (std::size_t i = 0; i < listed_.size(); ++i) {
      const ListedTimer& listed = listed_[i];
      const auto time = batch.value<KernelItimerspec>(times_[i]);
      auto& saved = *state_.add_timer();
      saved.set_id(listed.id);
      saved.set_signal(listed.signal);
      saved.set_value(listed.value);
      saved.set_notify(listed.notify);
      saved.set_remaining_ns(time.value_s * second_ns + time.value_ns);
      saved.set_interval_ns(time.interval_s * second_ns + time.interval_ns);
      collect_receiver(context, listed, saved);
      collect_clock(context, listed, saved);
      if (batch.result(overruns_[i]) > 0 || waiting.contains(listed.id)) {
        context.blockers.note("timer " + std::to_string(listed.id) +
                              ": timer_getoverrun(2) counts from 0 after a restart");
      }
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    if (state_.timer_size() > most_timers) return Error(Errc::bad_snapshot, "too many timers");
    std::int32_t previous = -1;
    for (const auto& timer : state_.timer()) {
      const auto bad = [&](const char* what) {
        return Error(Errc::bad_snapshot, "timer " + std::to_string(timer.id()) + ": " + what);
      };
      if (timer.id() <= previous) return bad("ids do not ascend");
      previous = timer.id();
      if (timer.signal() > last_signal) return bad("no such signal");
      if ((timer.notify() & ~static_cast<std::uint32_t>(SIGEV_THREAD_ID)) > SIGEV_THREAD)
        return bad("no such notification");
      if (timer.remaining_ns() < 0 || timer.interval_ns() < 0) return bad("an impossible time");
      if (timer.thread() < 0) return bad("an impossible thread");
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    std::set<std::int32_t> clocks;
    for (const auto& timer : state_.timer()) {
      if (timer.clock() < 0 || !clocks.insert(timer.clock()).second) continue;
      if (const int error = try_clock(timer.clock()); error != 0) {
        context.blockers.add(
            "timer " + std::to_string(timer.id()) + " of clock " + std::to_string(timer.clock()),
            Error::from_errno(error, "timer_create").to_string(),
            "alarm clocks need a real-time clock and the capability CAP_WAKE_ALARM: restart as root");
      }
    }
    if (state_.timer_size() > 0 && !kernel_restores_ids() && gaps() > most_gaps) {
      context.blockers.add("timer " + std::to_string(state_.timer(state_.timer_size() - 1).id()),
                           "this kernel cannot give a timer an id so high", "restart on Linux 6.15 or newer");
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    if (state_.timer_size() == 0) return ok();
    CallBatch& batch = context.leader();
    const bool chosen = kernel_restores_ids();
    if (chosen) {
      batch.call("PR_TIMER_CREATE_RESTORE_IDS", SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS,
                 PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0);
    }
    std::int32_t next = 0;  // the id that a kernel which cannot choose gives next
    for (const auto& timer : state_.timer()) {
      if (!chosen) fill_gap(batch, next, timer.id());
      next = timer.id() + 1;
      create(batch, timer);
    }
    if (chosen) {
      batch.call("PR_TIMER_CREATE_RESTORE_IDS", SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS,
                 PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0);
    }
    return ok();
  }

  nlohmann::json describe() const override {
    auto list = nlohmann::json::array();
    for (const auto& timer : state_.timer()) {
      list.push_back({{"id", timer.id()},
                      {"clock", timer.clock()},
                      {"signal", timer.signal()},
                      {"remaining_ns", timer.remaining_ns()},
                      {"interval_ns", timer.interval_ns()}});
    }
    return list;
  }

 private:
  // Timers that count their expirations in a signal that is not delivered yet.
  static Result<std::set<std::int32_t>> with_signal_waiting(const FrozenProcess& target) {
    CRS_TRY(const PendingQueues queues, read_pending_queues(target));
    std::set<std::int32_t> waiting;
    const auto look = [&](const std::vector<siginfo_t>& queue) {
      for (const siginfo_t& info : queue) {
        if (info.si_code == SI_TIMER) waiting.insert(info.si_timerid);
      }
    };
    look(queues.shared);
    for (const auto& [thread, queue] : queues.thread) look(queue);
    return waiting;
  }

  static void collect_receiver(CollectContext& context, const ListedTimer& listed, state::PosixTimer& saved) {
    if ((listed.notify & SIGEV_THREAD_ID) == 0) return;
    const auto threads = context.target.threads();
    const auto thread = std::ranges::find(threads, Tid(listed.receiver), &FrozenThread::tid);
    if (thread == threads.end()) {
      saved.set_notify(SIGEV_NONE);
    } else {
      saved.set_thread(thread->ns_tid.v);
    }
  }

  static void collect_clock(CollectContext& context, const ListedTimer& listed, state::PosixTimer& saved) {
    saved.set_clock(listed.clock);
    if (listed.clock >= 0) return;
    const std::string name = "timer " + std::to_string(listed.id);
    if (!is_cpu_clock(listed.clock)) {
      context.blockers.add(name, "it runs on the clock of a device", "delete the timer");
      return;
    }
    const auto threads = context.target.threads();
    const std::int32_t low_bits = listed.clock & (cpu_clock_thread_bit | cpu_clock_kind_mask);
    const NsPid counted(cpu_clock_pid(listed.clock));
    if ((listed.clock & cpu_clock_thread_bit) == 0) {
      if (counted.v != 0 && counted != context.target.ns_pid()) {
        context.blockers.add(name, "it counts the CPU time of process " + to_string(counted),
                             "delete the timer");
      }
      saved.set_clock(cpu_clock(0, low_bits));
      return;
    }
    NsPid thread = counted;
    if (counted.v == 0 && threads.size() == 1) thread = threads.front().ns_tid;
    if (counted.v == 0 && threads.size() > 1) thread = NsPid(saved.thread());
    if (thread.v == 0) {
      context.blockers.add(
          name, "it counts the CPU time of the thread that made it, and the kernel does not tell which",
          "make it with the clock of pthread_getcpuclockid(3), or deliver it with SIGEV_THREAD_ID");
    } else if (std::ranges::find(threads, thread, &FrozenThread::ns_tid) == threads.end()) {
      context.blockers.add(name,
                           "it counts the CPU time of thread " + to_string(thread) + ", which has ended",
                           "delete the timer");
    }
    // The leader will make it, so that "the thread that made it" is right only for the leader.
    const bool own = counted.v == 0 && thread == threads.front().ns_tid;
    saved.set_clock(cpu_clock(own ? 0 : thread.v, low_bits));
  }

  int gaps() const { return state_.timer(state_.timer_size() - 1).id() + 1 - state_.timer_size(); }

  static void fill_gap(CallBatch& batch, std::int32_t from, std::int32_t to) {
    for (std::int32_t id = from; id < to; ++id) {
      batch.call("timer_create", SYS_timer_create, CLOCK_MONOTONIC,
                 batch.in_value(KernelSigevent{.notify = SIGEV_NONE}), batch.out(sizeof(std::int32_t)));
      batch.call("timer_delete of timer " + std::to_string(id), SYS_timer_delete, id);
    }
  }

  static void create(CallBatch& batch, const state::PosixTimer& timer) {
    const std::string name = " of timer " + std::to_string(timer.id());
    const KernelSigevent event{.value = timer.value(),
                               .signal = static_cast<std::int32_t>(timer.signal()),
                               .notify = static_cast<std::int32_t>(timer.notify()),
                               .thread = timer.thread()};
    batch.call("timer_create" + name, SYS_timer_create, timer.clock(), batch.in_value(event),
               batch.in_value(timer.id()));
    // Also for one that is not armed: it fails where the id is not the one that was asked for.
    const KernelItimerspec time{timer.interval_ns() / second_ns, timer.interval_ns() % second_ns,
                                timer.remaining_ns() / second_ns, timer.remaining_ns() % second_ns};
    batch.call("timer_settime" + name, SYS_timer_settime, timer.id(), 0, batch.in_value(time), nullptr);
  }

  std::vector<ListedTimer> listed_;
  std::vector<CallBatch::Buffer> times_;
  std::vector<CallBatch::CallId> overruns_;
  bool cannot_list_ = false;
  state::PosixTimers state_;
};

}  // namespace

extern constinit const KindInfo kind_posix_timers{
    .section = "posix_timers", .phase = Phase::timers, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PosixTimersKind>();
    }};

}  // namespace crs
