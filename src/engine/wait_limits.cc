// SPDX-License-Identifier: Apache-2.0
#include "engine/wait_limits.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <array>

namespace crs {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A wait that is shorter than this is not worth a guess: exec_start is of the last switch, the wait began
// later.
constexpr Nanoseconds smallest_part = milliseconds(5);
// Waking up only to stop takes a few microseconds on a CPU. More, and the thread has done something in
// between.
constexpr Nanoseconds cpu_time_of_a_stop = microseconds(200);

constexpr std::array limited_calls = {SYS_poll,         SYS_nanosleep,       SYS_clock_nanosleep,
                                      SYS_futex,        SYS_epoll_wait,      SYS_epoll_pwait,
                                      SYS_epoll_pwait2, SYS_rt_sigtimedwait, SYS_restart_syscall};

std::optional<Nanoseconds> read_timespec(std::uint64_t address, const MemoryReader& read) {
  timespec value{};
  if (address == 0 || !read(RemoteAddr(address), std::as_writable_bytes(std::span(&value, 1))))
    return std::nullopt;
  // Longer than a century: no limit in practice, and the sums would overflow.
  if (value.tv_sec < 0 || value.tv_sec > 3'000'000'000 || value.tv_nsec < 0 || value.tv_nsec > 999'999'999) {
    return std::nullopt;
  }
  return seconds(value.tv_sec) + Nanoseconds(value.tv_nsec);
}

std::optional<WaitLimit> in_milliseconds(int argument, std::uint64_t value) {
  const auto limit = static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  if (limit < 0) return std::nullopt;  // none
  return WaitLimit{LimitForm::milliseconds, argument, milliseconds(limit), true, std::nullopt};
}

std::optional<WaitLimit> in_timespec(int argument, std::uint64_t address, const MemoryReader& read) {
  const auto whole = read_timespec(address, read);
  if (!whole) return std::nullopt;
  return WaitLimit{LimitForm::timespec, argument, *whole, true, std::nullopt};
}

bool is_cpu_clock(std::uint64_t clock) {
  const auto id = static_cast<std::int32_t>(static_cast<std::uint32_t>(clock));
  return id < 0 || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID;
}

// "12348842.674481": milliseconds, as the kernel prints nanoseconds.
std::optional<Nanoseconds> parse_split_time(std::string_view text) {
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos || text.size() != dot + 7) return std::nullopt;
  const auto whole = parse_number(text.substr(0, dot));
  const auto part = parse_number(text.substr(dot + 1));
  if (!whole || !part) return std::nullopt;
  return milliseconds(*whole) + Nanoseconds(*part);
}

struct SchedulerView {
  Nanoseconds exec_start{};
  Nanoseconds cpu_time{};
  std::uint64_t times_slept = 0;
};

std::optional<SchedulerView> read_sched(const ProcDir& task) {
  const auto text = task.read("sched");
  if (!text) return std::nullopt;
  const auto value_of = [&](std::string_view key) -> std::optional<std::string_view> {
    const std::size_t at = text->find("\n" + std::string(key) + " ");
    if (at == std::string::npos) return std::nullopt;
    const std::size_t end = std::min(text->find('\n', at + 1), text->size());
    const std::string_view line = std::string_view(*text).substr(at + 1, end - at - 1);
    return line.substr(line.find_last_of(" :") + 1);
  };
  const auto start = value_of("se.exec_start");
  const auto cpu = value_of("se.sum_exec_runtime");
  const auto slept = value_of("nr_voluntary_switches");
  if (!start || !cpu || !slept) return std::nullopt;
  const auto exec_start = parse_split_time(*start);
  const auto cpu_time = parse_split_time(*cpu);
  const auto times = parse_number(*slept);
  if (!exec_start || exec_start->count() == 0 || !cpu_time || !times) return std::nullopt;
  return SchedulerView{*exec_start, *cpu_time, *times};
}

// The call that may have a limit in which the thread is off its CPU. The kernel tells a call's number only
// then.
std::optional<std::uint64_t> find_limited_call(const ProcDir& task) {
  const auto text = task.read("syscall");
  if (!text) return std::nullopt;
  const auto number = parse_number(std::string_view(*text).substr(0, text->find(' ')));
  if (!number || std::ranges::find(limited_calls, static_cast<long>(*number)) == limited_calls.end())
    return std::nullopt;
  return number;
}

// The calling thread on another CPU as long as it lives.
class Visit {
 public:
  explicit Visit(int cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(static_cast<std::size_t>(cpu), &only);
    there_ = sched_setaffinity(0, sizeof only, &only) == 0;
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  ~Visit() {
    if (there_) sched_setaffinity(0, sizeof before_, &before_);
  }
  bool there() const { return there_; }

 private:
  cpu_set_t before_{};
  bool there_ = false;
};

}  // namespace

Nanoseconds monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return seconds(now.tv_sec) + Nanoseconds(now.tv_nsec);
}

std::uint64_t whole_milliseconds(Nanoseconds time) {
  return static_cast<std::uint64_t>(std::chrono::ceil<milliseconds>(time).count());
}

unsigned long long& argument_of(user_regs_struct& registers, int argument) {
  switch (argument) {
    case 0: return registers.rdi;
    case 1: return registers.rsi;
    case 2: return registers.rdx;
    case 3: return registers.r10;
    case 4: return registers.r8;
    default: return registers.r9;
  }
}

std::optional<WaitLimit> find_limit(std::uint64_t number, const user_regs_struct& registers,
                                    const MemoryReader& read) {
  switch (number) {
    case SYS_poll: return in_milliseconds(2, registers.rdx);
    case SYS_epoll_wait:
    case SYS_epoll_pwait: return in_milliseconds(3, registers.r10);
    case SYS_epoll_pwait2: return in_timespec(3, registers.r10, read);
    case SYS_rt_sigtimedwait: return in_timespec(2, registers.rdx, read);
    case SYS_nanosleep: {
      auto limit = in_timespec(0, registers.rdi, read);
      if (limit) limit->rest = read_timespec(registers.rsi, read);
      return limit;
    }
    case SYS_clock_nanosleep: {
      if ((registers.rsi & TIMER_ABSTIME) != 0) return std::nullopt;
      auto limit = in_timespec(2, registers.rdx, read);
      if (!limit) return std::nullopt;
      limit->passes = !is_cpu_clock(registers.rdi);
      limit->rest = read_timespec(registers.r10, read);
      return limit;
    }
    case SYS_futex: {
      // FUTEX_WAIT alone is given a duration; all others a point in time.
      if ((registers.rsi & static_cast<unsigned>(FUTEX_CMD_MASK)) != FUTEX_WAIT) return std::nullopt;
      return in_timespec(3, registers.r10, read);
    }
    default: return std::nullopt;
  }
}

std::optional<Nanoseconds> SleepWatch::offset_of(int cpu) {
  const auto known = offsets_.find(cpu);
  if (known != offsets_.end()) return known->second;
  std::optional<Nanoseconds>& offset = offsets_[cpu];
  const Visit visit(cpu);
  // A sleep, however short, has exec_start set anew as it ends; else it may be as old as the last tick.
  const timespec moment{0, 1000};
  nanosleep(&moment, nullptr);
  if (!visit.there()) return offset;
  const auto self = ProcDir::open_own_thread();
  if (!self) return offset;
  const auto view = read_sched(*self);
  if (view) offset = monotonic_now() - view->exec_start;
  return offset;
}

std::optional<Sleep> SleepWatch::look_at(const ProcDir& task) {
  const auto call = find_limited_call(task);
  if (!call) return std::nullopt;
  const auto stat = task.stat();
  if (!stat) return std::nullopt;
  constexpr std::size_t processor = 39;
  const auto offset = offset_of(static_cast<int>(stat->field(processor)));
  if (!offset || find_limited_call(task) != call) return std::nullopt;
  const auto view = read_sched(task);
  if (!view || find_limited_call(task) != call) return std::nullopt;
  Sleeping where = Sleeping::elsewhere;
  if (*call == SYS_restart_syscall) {
    if (const auto function = task.read("wchan")) where = sleeping_in(*function);
  }
  const auto again = read_sched(task);
  if (!again || again->times_slept != view->times_slept || again->exec_start != view->exec_start)
    return std::nullopt;
  return Sleep{view->exec_start + *offset, view->times_slept, view->cpu_time, where};
}

bool slept_until_the_stop(const Sleep& sleep, const ProcDir& task) {
  const auto view = read_sched(task);
  return view && view->times_slept == sleep.times_slept + 1 &&
         view->cpu_time - sleep.cpu_time < cpu_time_of_a_stop;
}

Nanoseconds left_of(const WaitLimit& limit, const std::optional<Sleep>& sleep, Nanoseconds stopped) {
  if (limit.rest) return *limit.rest;
  if (!limit.passes || !sleep) return limit.whole;
  const Nanoseconds passed = stopped - sleep->since;
  if (passed < smallest_part) return limit.whole;
  return std::max(limit.whole - passed, Nanoseconds(0));
}

}  // namespace crs
