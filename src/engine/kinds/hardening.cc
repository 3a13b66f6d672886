// SPDX-License-Identifier: Apache-2.0
// Hardening: the switches by which a program denies itself something, or changes how its own code is run.
//
// What this file knows
//   PR_SET_MDWE (no new executable memory) belongs to the process and cannot be undone, so it comes when all
//   memory is in place. personality(2), PR_SET_TSC, CPUID faulting and the speculation controls belong to
//   each thread. A speculation control counts only if the kernel answers PR_SPEC_PRCTL: otherwise the machine
//   decides. For the flush of the L1 cache "enabled" is the protected state, for the others "disabled".
//   Losing such a protection would weaken the program, so a machine that cannot give it is a blocker.
//   With a READ_IMPLIES_EXEC personality all later mappings are executable: it too comes last.
// What it leaves to others
//   no_new_privs, dumpable, capabilities (credentials.cc); seccomp and the like (confinement.cc). A policy of
//   PR_SET_PTRACER cannot be read; it is gone after a restart, which allows less than before.
//
// Kernel interfaces: prctl(2), personality(2), arch_prctl(2).   Round trip: tests/targets/hardening_*.cc
#include <asm/prctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>

#include "engine/kinds/hardening.pb.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
constexpr std::uint32_t mdwe_known = 3;  // PR_MDWE_REFUSE_EXEC_GAIN, PR_MDWE_NO_INHERIT
constexpr std::uint32_t ask_personality = 0xffffffff;

struct Feature {
  std::uint32_t number;
  const char* name;
  std::uint32_t protected_states;
};
constexpr std::array<Feature, 3> features{{
    {PR_SPEC_STORE_BYPASS, "speculative store bypass",
     PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE | PR_SPEC_DISABLE_NOEXEC},
    {PR_SPEC_INDIRECT_BRANCH, "indirect branch speculation", PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE},
    {PR_SPEC_L1D_FLUSH, "flushing the L1 data cache", PR_SPEC_ENABLE},
}};

// Whether this machine lets a thread choose; `safe`: whether it need not.
struct Here {
  bool by_prctl = false;
  bool safe = false;
};
Here speculation_here(const Feature& feature) {
  const int answer = prctl(PR_GET_SPECULATION_CTRL, feature.number, 0, 0, 0);
  if (answer < 0) return {};
  if (answer == PR_SPEC_NOT_AFFECTED) return {.by_prctl = false, .safe = true};
  const auto bits = static_cast<std::uint32_t>(answer);
  return {.by_prctl = (bits & PR_SPEC_PRCTL) != 0, .safe = (bits & feature.protected_states) != 0};
}

class HardeningKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    mdwe_ = questions.leader().try_call(SYS_prctl, PR_GET_MDWE, 0, 0, 0, 0);
    for (const FrozenThread& thread : target.threads()) {
      CallBatch& batch = questions.thread(thread.ns_tid);
      ThreadAnswers answers;
      answers.personality = batch.call("personality", SYS_personality, ask_personality);
      answers.tsc = batch.out(sizeof(int));
      batch.try_call(SYS_prctl, PR_GET_TSC, answers.tsc, 0, 0, 0);
      answers.cpuid = batch.try_call(SYS_arch_prctl, ARCH_GET_CPUID, 0);
      for (std::size_t i = 0; i < features.size(); ++i) {
        answers.speculation[i] =
            batch.try_call(SYS_prctl, PR_GET_SPECULATION_CTRL, features[i].number, 0, 0, 0);
      }
      threads_.push_back(answers);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    if (const auto mdwe = context.answers.leader().result(mdwe_); mdwe > 0) {
      state_.set_mdwe(static_cast<std::uint32_t>(mdwe));
    }
    const auto threads = context.target.threads();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const CallBatch& batch = context.answers.thread(threads[i].ns_tid);
      auto& saved = *state_.add_thread();
      saved.set_thread(threads[i].ns_tid.v);
      saved.set_personality(static_cast<std::uint32_t>(batch.result(threads_[i].personality)));
      saved.set_no_tsc(batch.value<int>(threads_[i].tsc) == PR_TSC_SIGSEGV);
      saved.set_no_cpuid(batch.result(threads_[i].cpuid) == 0);
      for (std::size_t k = 0; k < features.size(); ++k) {
        collect_speculation(batch.result(threads_[i].speculation[k]), features[k], saved);
      }
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    CRS_CHECK(check_thread_ids(state_.thread()));
    if ((state_.mdwe() & ~mdwe_known) != 0) return Error(Errc::bad_snapshot, "an unknown PR_SET_MDWE");
    for (const auto& thread : state_.thread()) {
      for (const auto& control : thread.speculation()) {
        if (control.feature() >= features.size() || !std::has_single_bit(control.state())) {
          return Error(Errc::bad_snapshot, "an unknown speculation control");
        }
      }
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    if (state_.mdwe() != 0 && prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0) {
      context.blockers.add("PR_SET_MDWE",
                           "this kernel cannot deny new executable memory, which the program relies on",
                           "restart on Linux 6.3 or newer");
    }
    for (const auto& thread : state_.thread()) {
      const std::string name = "thread " + std::to_string(thread.thread());
      if (thread.no_cpuid() && syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0) < 0) {
        context.blockers.add(name, "it runs without the CPUID instruction, which this processor cannot deny",
                             "");
      }
      for (const auto& control : thread.speculation()) {
        const Feature& feature = features[control.feature()];
        const Here here = speculation_here(feature);
        if (here.by_prctl || here.safe) continue;
        context.blockers.add(name,
                             std::string("it set a speculation control (") + feature.name +
                                 ") that this machine does not have",
                             "restart on a machine that has it");
      }
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    if (state_.mdwe() != 0) {
      context.leader().call("PR_SET_MDWE", SYS_prctl, PR_SET_MDWE, state_.mdwe(), 0, 0, 0);
    }
    for (const auto& thread : state_.thread()) {
      CRS_TRY(CallBatch * batch, batch_of(context, NsPid(thread.thread())));
      batch->call("personality", SYS_personality, thread.personality());
      for (const auto& control : thread.speculation()) {
        const Feature& feature = features[control.feature()];
        if (!speculation_here(feature).by_prctl) continue;
        batch->call(std::string("PR_SET_SPECULATION_CTRL of ") + feature.name, SYS_prctl,
                    PR_SET_SPECULATION_CTRL, feature.number, control.state(), 0, 0);
      }
      if (thread.no_tsc()) batch->call("PR_SET_TSC", SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
      if (thread.no_cpuid()) batch->call("ARCH_SET_CPUID", SYS_arch_prctl, ARCH_SET_CPUID, 0);
    }
    return ok();
  }

  nlohmann::json describe() const override {
    nlohmann::json json = nlohmann::json::object();
    if (state_.mdwe() != 0) json["mdwe"] = state_.mdwe();
    for (const auto& thread : state_.thread()) {
      nlohmann::json entry = nlohmann::json::object();
      if (thread.personality() != 0) entry["personality"] = thread.personality();
      if (thread.no_tsc()) entry["no_tsc"] = true;
      if (thread.no_cpuid()) entry["no_cpuid"] = true;
      for (const auto& control : thread.speculation())
        entry["speculation"][features[control.feature()].name] = control.state();
      if (!entry.empty()) json["threads"][std::to_string(thread.thread())] = entry;
    }
    return json;
  }

 private:
  struct ThreadAnswers {
    CallBatch::CallId personality, cpuid;
    CallBatch::Buffer tsc;
    std::array<CallBatch::CallId, features.size()> speculation{};
  };

  static void collect_speculation(std::int64_t answer, const Feature& feature,
                                  state::ThreadHardening& saved) {
    if (answer <= 0) return;
    const auto bits = static_cast<std::uint32_t>(answer);
    const std::uint32_t protection = bits & feature.protected_states;
    if ((bits & PR_SPEC_PRCTL) == 0 || !std::has_single_bit(protection)) return;
    auto& control = *saved.add_speculation();
    control.set_feature(feature.number);
    control.set_state(protection);
  }

  CallBatch::CallId mdwe_;
  std::vector<ThreadAnswers> threads_;
  state::Hardening state_;
};

}  // namespace

extern constinit const KindInfo kind_hardening{
    .section = "hardening", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<HardeningKind>();
    }};

}  // namespace crs
