// SPDX-License-Identifier: Apache-2.0
// Signal actions: what sigaction(2) set for each signal.
//
// What this file knows
//   The kernel's struct sigaction is {handler, flags, restorer, mask}, not the C library's. Actions belong to
//   the whole process and can be asked and set only from inside. SIGKILL and SIGSTOP have none. An action
//   with SIG_DFL may carry flags that mean something (SA_NOCLDWAIT), so "default" is all four fields zero.
// What it leaves to others
//   Signal masks and alternate stacks (threads), pending signals (pending_signals.cc), which come after the
//   actions because setting SIG_IGN throws pending ones away.
//
// Kernel interfaces: rt_sigaction(2).   Round trip: tests/targets/signal_actions_*.cc
#include <signal.h>
#include <sys/syscall.h>

#include <array>

#include "engine/kinds/signal_actions.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr int last_signal = 64;
constexpr std::size_t mask_size = 8;  // bytes; what the kernel wants to hear as sigsetsize

struct KernelAction {
  std::uint64_t handler = 0;
  std::uint64_t flags = 0;
  std::uint64_t restorer = 0;
  std::uint64_t mask = 0;
};
static_assert(sizeof(KernelAction) == 32);

bool has_action(int signal) {
  return signal != SIGKILL && signal != SIGSTOP;
}

class SignalActionsKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess&, Questions& questions) override {
    CallBatch& batch = questions.leader();
    for (int signal = 1; signal <= last_signal; ++signal) {
      if (!has_action(signal)) continue;
      answers_[index(signal)] = batch.out(sizeof(KernelAction));
      batch.call("rt_sigaction of signal " + std::to_string(signal), SYS_rt_sigaction, signal, nullptr,
                 answers_[index(signal)], mask_size);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    for (int signal = 1; signal <= last_signal; ++signal) {
      if (!has_action(signal)) continue;
      const auto action = context.answers.leader().value<KernelAction>(answers_[index(signal)]);
      if (action.handler == 0 && action.flags == 0 && action.restorer == 0 && action.mask == 0) continue;
      auto& saved = *state_.add_action();
      saved.set_signal(static_cast<std::uint32_t>(signal));
      saved.set_handler(action.handler);
      saved.set_flags(action.flags);
      saved.set_restorer(action.restorer);
      saved.set_mask(action.mask);
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& action : state_.action()) {
      if (action.signal() < 1 || action.signal() > last_signal ||
          !has_action(static_cast<int>(action.signal()))) {
        return Error(Errc::bad_snapshot, "signal " + std::to_string(action.signal()) + " has no action");
      }
    }
    return ok();
  }

  // All of them, since the restorer's own actions are what the process has now.
  Result<bool> can_rewind_from(std::string_view) const override { return true; }
  Status rewind(RewindContext& context) override { return context.equal ? ok() : rebuild(context.calls); }

  Status rebuild(RebuildContext& context) override {
    std::array<KernelAction, last_signal> actions{};
    for (const auto& saved : state_.action()) {
      actions[index(static_cast<int>(saved.signal()))] = {saved.handler(), saved.flags(), saved.restorer(),
                                                          saved.mask()};
    }
    CallBatch& batch = context.leader();
    for (int signal = 1; signal <= last_signal; ++signal) {
      if (!has_action(signal)) continue;
      batch.call("rt_sigaction of signal " + std::to_string(signal), SYS_rt_sigaction, signal,
                 batch.in_value(actions[index(signal)]), nullptr, mask_size);
    }
    return ok();
  }

  nlohmann::json describe() const override {
    auto caught = nlohmann::json::array();
    auto ignored = nlohmann::json::array();
    for (const auto& action : state_.action()) {
      if (action.handler() == 0) continue;
      (action.handler() == 1 ? ignored : caught).push_back(action.signal());
    }
    return {{"caught", caught}, {"ignored", ignored}};
  }

 private:
  static std::size_t index(int signal) { return static_cast<std::size_t>(signal - 1); }

  std::array<CallBatch::Buffer, last_signal> answers_{};
  state::SignalActions state_;
};

}  // namespace

extern constinit const KindInfo kind_signal_actions{
    .section = "signal_actions", .phase = Phase::signals, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<SignalActionsKind>();
    }};

}  // namespace crs
