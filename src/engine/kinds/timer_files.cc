// SPDX-License-Identifier: Apache-2.0
// Timer files (timerfd): clock, time that remains, expirations that were not read.
//
// What this file knows
//   fdinfo tells all of it, with one hole: a periodic timer that has expired stands still until it is read,
//   and since when is not told. timerfd_gettime(2) lets it run on, with all expirations counted, which
//   changes nothing for whoever reads it. What is saved is the time that remains, as for the other timers. A
//   timer that was set to a point in time of the wall clock (TFD_TIMER_ABSTIME) is set to the same point:
//   where that has passed, it has expired, as often as it would have. Unread expirations are put back by
//   TFD_IOC_SET_TICKS (CONFIG_CHECKPOINT_RESTORE). Timers are armed when everything else stands, and that
//   they hold expirations is already told before, for who watches them (event_polls.cc). That the wall clock
//   was set, and the program has not heard of it yet (TFD_TIMER_CANCEL_ON_SET), the kernel does not tell:
//   after a restart it hears of the next time.
// What it leaves to others
//   Who waits for it: a waiting thread makes its call again (interrupted_calls.h), an epoll watches it
//   (event_polls.cc).
//
// Kernel interfaces: timerfd_create(2), proc(5) fdinfo.   Round trip: tests/targets/timer_files_*.cc
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <optional>
#include <set>

#include "engine/kinds/timer_files.pb.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr const char* link_text = "anon_inode:[timerfd]";
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr unsigned long set_ticks = _IOW('T', 0, std::uint64_t);  // TFD_IOC_SET_TICKS

std::string name_of(int number) {
  return "fd " + std::to_string(number) + " (timerfd)";
}

struct Told {  // by fdinfo
  std::int32_t clock = 0;
  std::uint64_t ticks = 0;
  std::uint32_t set_flags = 0;
  std::int64_t remaining_ns = 0, interval_ns = 0;
};

std::optional<Told> parse(const std::string& fdinfo) {
  const std::size_t at = fdinfo.find("clockid:");
  Told told;
  unsigned long long ticks = 0, value_s = 0, value_ns = 0, interval_s = 0, interval_ns = 0;
  if (at == std::string::npos ||
      std::sscanf(
          fdinfo.c_str() + at,  // NOLINT: fixed format
          "clockid: %d ticks: %llu settime flags: %o it_value: (%llu, %llu) it_interval: (%llu, %llu)",
          &told.clock, &ticks, &told.set_flags, &value_s, &value_ns, &interval_s, &interval_ns) != 7)
    return std::nullopt;
  told.ticks = ticks;
  // The kernel's own limit of a time (KTIME_SEC_MAX) fits.
  told.remaining_ns = static_cast<std::int64_t>(value_s * second_ns + value_ns);
  told.interval_ns = static_cast<std::int64_t>(interval_s * second_ns + interval_ns);
  return told;
}

// Both in one look of the kernel's. A periodic timer that expires between the two calls stands still again.
Result<std::optional<Told>> look_at(int local) {
  constexpr int attempts = 100;
  std::optional<Told> told;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    itimerspec unused{};
    if (timerfd_gettime(local, &unused) != 0) return Error::from_errno(errno, "timerfd_gettime");
    CRS_TRY(const std::string fdinfo, read_file("/proc/self/fdinfo/" + std::to_string(local)));
    told = parse(fdinfo);
    if (!told || told->interval_ns == 0 || told->remaining_ns != 0) return told;
  }
  told->remaining_ns = 1;  // its interval is shorter than the look
  return told;
}

bool is_wall_clock(std::int32_t clock) {
  return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
}

std::int64_t wall_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * second_ns + now.tv_nsec;
}

class TimerFilesKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override { return file.path == link_text; }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    auto& saved = *state_.add_timers();
    saved.set_id(file.id);
    saved.set_number(file.fds.front().v);
    saved.set_flags(file.flags & O_NONBLOCK);
    const std::string object = name_of(saved.number());
    if ((file.flags & ~std::uint32_t{O_RDWR | O_NONBLOCK}) != 0) {
      context.blockers.add(object, "it has file status flags that cannot be restored yet",
                           "let the program clear them");
    }
    if (file.local < 0) {
      context.blockers.add(object, "the kernel does not let us look at it (pidfd_getfd)", "run crs as root");
      return ok();
    }
    CRS_TRY(const auto told, look_at(file.local));
    if (!told) {
      context.blockers.add(object, "this kernel does not tell how the timer is set",
                           "use a kernel with CONFIG_PROC_FS and Linux 3.17 or newer");
      return ok();
    }
    saved.set_clock(told->clock);
    saved.set_ticks(told->ticks);
    saved.set_set_flags(told->set_flags);
    saved.set_remaining_ns(told->remaining_ns);
    saved.set_interval_ns(told->interval_ns);
    if (told->remaining_ns != 0 && (told->set_flags & TFD_TIMER_ABSTIME) != 0 && is_wall_clock(told->clock))
      saved.set_wall_ns(wall_clock_ns() + told->remaining_ns);
    return ok();
  }

  // After all descriptors: who else has them. What is read there is missing here.
  Status collect(CollectContext& context) override {
    if (state_.timers().empty()) return ok();
    const Tid process = context.target.living_thread();
    std::set<int> shared;
    return see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
      if (other.link != link_text) return;
      for (const auto& timer : state_.timers()) {
        const int number = timer.number();
        const bool same = syscall(SYS_kcmp, process.v, other.pid.v, KCMP_FILE, number, other.fd.v) == 0;
        if (!same || !shared.insert(number).second) continue;
        context.blockers.add(name_of(number), "it is shared with " + other.process(),
                             "end that process, or let the program close it");
      }
    });
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& timer : state_.timers()) {
      const bool sound =
          timer.number() >= 0 && timer.clock() >= 0 && (timer.flags() & ~std::uint32_t{O_NONBLOCK}) == 0 &&
          (timer.set_flags() & ~std::uint32_t{TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET}) == 0 &&
          timer.remaining_ns() >= 0 && timer.interval_ns() >= 0 && timer.wall_ns() >= 0;
      if (!sound) return Error(Errc::bad_snapshot, "a timer file is described wrongly");
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    for (const auto& timer : state_.timers()) {
      if (context.is_replaced(timer.id())) continue;
      if (const auto made = make(timer); !made) {
        context.blockers.add(
            name_of(timer.number()), made.error().to_string(),
            "alarm clocks need a real-time clock and the capability CAP_WAKE_ALARM: restart as root");
      }
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.timers(), [id](const auto& each) { return each.id() == id; });
    if (found == state_.timers().end()) return Error(Errc::bad_snapshot, "a timer file is missing");
    return make(*found);
  }

  Status rebuild(RebuildContext& context) override {
    for (const auto& timer : state_.timers()) {
      if (!context.options().fd_paths.contains(timer.number())) arm(context.leader(), timer, timer.number());
    }
    return ok();
  }

  Result<bool> can_rewind_from(std::string_view now) const override {
    state::TimerFiles its;
    CRS_CHECK(from_section(now, its));
    return std::ranges::equal(its.timers(), state_.timers(), [](const auto& a, const auto& b) {
      return a.id() == b.id() && a.clock() == b.clock() && a.flags() == b.flags();
    });
  }

  Status rewind(RewindContext& context) override {
    for (const auto& timer : state_.timers()) {
      const auto number = context.descriptor_of(timer.id());
      if (!number) return Error(Errc::bug, "a timer file has no descriptor");
      const itimerspec never{};
      context.calls.leader().call("timerfd_settime", SYS_timerfd_settime, *number, 0,
                                  context.calls.leader().in_value(never), nullptr);
      arm(context.calls.leader(), timer, number->v);
    }
    return ok();
  }

  nlohmann::json describe() const override {
    if (state_.timers().empty()) return nullptr;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& timer : state_.timers()) {
      list.push_back({{"fd", timer.number()},
                      {"clock", timer.clock()},
                      {"unread", timer.ticks()},
                      {"remaining_ns", timer.remaining_ns()},
                      {"interval_ns", timer.interval_ns()}});
    }
    return list;
  }

 private:
  // Not armed yet.
  static Result<OwnedFd> make(const state::TimerFile& timer) {
    OwnedFd fd(timerfd_create(timer.clock(), TFD_CLOEXEC | static_cast<int>(timer.flags())));
    if (!fd) return Error::from_errno(errno, "timerfd_create with clock " + std::to_string(timer.clock()));
    const std::uint64_t ticks = timer.ticks();
    if (ticks != 0 && ioctl(fd.get(), set_ticks, &ticks) != 0)
      return Error::from_errno(errno, "put back the expirations of a timer (TFD_IOC_SET_TICKS)");
    return fd;
  }

  static void arm(CallBatch& batch, const state::TimerFile& timer, int number) {
    const std::string name = " of fd " + std::to_string(number);
    if (timer.remaining_ns() != 0) {
      // Its other clocks may be shifted (clock_view.h), so that only what remains of the time is known here.
      const bool absolute = timer.wall_ns() != 0;
      const std::int64_t at = absolute ? timer.wall_ns() : timer.remaining_ns();
      const itimerspec time{{timer.interval_ns() / second_ns, timer.interval_ns() % second_ns},
                            {at / second_ns, at % second_ns}};
      batch.call("timerfd_settime" + name, SYS_timerfd_settime, number, absolute ? timer.set_flags() : 0u,
                 batch.in_value(time), nullptr);
    }
    const std::uint64_t ticks = timer.ticks();
    if (ticks != 0)
      batch.call("TFD_IOC_SET_TICKS" + name, SYS_ioctl, number, set_ticks, batch.in_value(ticks));
  }

  state::TimerFiles state_;
};

}  // namespace

extern constinit const KindInfo kind_timer_files{
    .section = "timer_files", .phase = Phase::timers, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<TimerFilesKind>();
    }};

}  // namespace crs
