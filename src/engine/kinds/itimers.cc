// SPDX-License-Identifier: Apache-2.0
// Interval timers: the three timers of setitimer(2), alarm(2) included.
//
// What this file knows
//   They belong to the process and can be asked and set only from inside. What is saved is the time that
//   remains; the time between checkpoint and restart does not count. They are armed last, since they run from
//   then on. A forked copy has none, so those that were not armed need nothing.
//   A repeating ITIMER_REAL whose SIGALRM is still pending says "nothing remains" and starts again when the
//   signal is taken: it is armed with a whole interval.
//
// Kernel interfaces: getitimer(2), setitimer(2).   Round trip: tests/targets/itimers_*.cc
#include <sys/syscall.h>
#include <sys/time.h>

#include <array>

#include "engine/kinds/itimers.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::int64_t second_us = 1'000'000;
constexpr std::array<const char*, 3> names{"ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"};
constexpr std::int64_t longest_us = INT64_MAX / 1000;  // more than the kernel can count in nanoseconds

std::int64_t to_us(const timeval& time) {
  return time.tv_sec * second_us + time.tv_usec;
}
timeval to_timeval(std::int64_t us) {
  return {us / second_us, us % second_us};
}

class IntervalTimersKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess&, Questions& questions) override {
    CallBatch& batch = questions.leader();
    for (std::size_t which = 0; which < names.size(); ++which) {
      answers_[which] = batch.out(sizeof(itimerval));
      batch.call(std::string("getitimer of ") + names[which], SYS_getitimer, which, answers_[which]);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    for (std::size_t which = 0; which < names.size(); ++which) {
      const auto timer = context.answers.leader().value<itimerval>(answers_[which]);
      if (to_us(timer.it_value) == 0 && to_us(timer.it_interval) == 0) continue;
      auto& saved = *state_.add_timer();
      saved.set_which(static_cast<std::uint32_t>(which));
      const bool waits = which == ITIMER_REAL && to_us(timer.it_value) == 0;
      saved.set_remaining_us(to_us(waits ? timer.it_interval : timer.it_value));
      saved.set_interval_us(to_us(timer.it_interval));
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& timer : state_.timer()) {
      if (timer.which() >= names.size()) {
        return Error(Errc::bad_snapshot, "no interval timer has number " + std::to_string(timer.which()));
      }
      for (const std::int64_t us : {timer.remaining_us(), timer.interval_us()}) {
        if (us < 0 || us > longest_us) {
          return Error(Errc::bad_snapshot, std::string(names[timer.which()]) + " with an impossible time");
        }
      }
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    CallBatch& batch = context.leader();
    for (const auto& timer : state_.timer()) {
      const itimerval value{to_timeval(timer.interval_us()), to_timeval(timer.remaining_us())};
      batch.call(std::string("setitimer of ") + names[timer.which()], SYS_setitimer, timer.which(),
                 batch.in_value(value), nullptr);
    }
    return ok();
  }

  nlohmann::json describe() const override {
    auto list = nlohmann::json::array();
    for (const auto& timer : state_.timer()) {
      list.push_back({{"timer", names[timer.which()]},
                      {"remaining_us", timer.remaining_us()},
                      {"interval_us", timer.interval_us()}});
    }
    return list;
  }

 private:
  std::array<CallBatch::Buffer, names.size()> answers_{};
  state::IntervalTimers state_;
};

}  // namespace

extern constinit const KindInfo kind_itimers{
    .section = "itimers", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<IntervalTimersKind>();
    }};

}  // namespace crs
