// SPDX-License-Identifier: Apache-2.0
// Credentials: who each thread is and what it may do.
//
// What this file knows
//   Credentials belong to threads; a process in which they differ is rare but legal, so each thread's are
//   saved. All but the securebits, the parent death signal and dumpable are in /proc/PID/task/TID/status. A
//   process restored without privilege lives in a user namespace where it starts with every capability. It
//   must not keep them: each thread drops what it did not have. The bounding set is dropped as well, because
//   an executed file with capabilities could give them back. Order, each step with a reason: groups and ids
//   while we may change them, with SECBIT_NO_SETUID_FIXUP so that leaving uid 0 does not drop capabilities
//   early; inheritable before bounding (a new inheritable capability must be in the bounding set); ambient
//   after inheritable and before the securebits (which may forbid it); permitted and effective; no_new_privs.
//   A change of ids makes the kernel forget the parent death signal and makes the process undumpable (sysctl
//   fs.suid_dumpable), so these two are set at the very end, by every thread. PR_SET_DUMPABLE takes no 2
//   ("only for root"); such a process comes back with 0, which allows less.
// What it leaves to others
//   Everything that still needs a privilege must come in an earlier phase, or from outside.
//   Keyrings are not saved: the restored process has those of the restart.
//
// Kernel interfaces: credentials(7), capabilities(7), prctl(2).   Round trip: tests/targets/credentials_*.cc
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "engine/kinds/credentials.pb.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

constexpr int most_groups = 1 << 16;  // NGROUPS_MAX
constexpr int last_signal = 64;
constexpr std::uint32_t dumpable_by_all = 1;

constexpr std::uint64_t bit(unsigned capability) {
  return std::uint64_t{1} << capability;
}

std::string to_hex(std::uint64_t value) {
  std::ostringstream out;
  out << "0x" << std::hex << value;
  return out.str();
}

Status parse_ids(const ProcFields& status, const char* key,
                 google::protobuf::RepeatedField<std::uint32_t>& ids) {
  for (const std::uint64_t id : status.numbers(key)) ids.Add(static_cast<std::uint32_t>(id));
  if (ids.size() != 4)
    return Error(Errc::kernel, std::string("/proc/PID/status has no four numbers in ") + key);
  return ok();
}

// What /proc/PID/status tells.
Result<state::ThreadCredentials> parse_credentials(const ProcFields& status) {
  state::ThreadCredentials credentials;
  CRS_CHECK(parse_ids(status, "Uid", *credentials.mutable_uid()));
  CRS_CHECK(parse_ids(status, "Gid", *credentials.mutable_gid()));
  for (const std::uint64_t group : status.numbers("Groups"))
    credentials.add_group(static_cast<std::uint32_t>(group));
  std::ranges::sort(*credentials.mutable_group());
  const auto capabilities = [&](const char* key) { return status.number(key, 16).value_or(0); };
  credentials.set_inheritable(capabilities("CapInh"));
  credentials.set_permitted(capabilities("CapPrm"));
  credentials.set_effective(capabilities("CapEff"));
  credentials.set_bounding(capabilities("CapBnd"));
  credentials.set_ambient(capabilities("CapAmb"));
  credentials.set_no_new_privs(status.number("NoNewPrivs").value_or(0) != 0);
  return credentials;
}

template <class A, class B>
bool equal(const A& a, const B& b) {
  return std::ranges::equal(a, b);
}

// Whether a map of /proc/PID/{uid,gid}_map has this id.
bool is_mapped(const std::string& map, std::uint32_t id) {
  std::istringstream in(map);
  std::uint64_t inside = 0, outside = 0, count = 0;
  while (in >> inside >> outside >> count) {
    if (inside <= id && id - inside < count) return true;
  }
  return false;
}

class CredentialsKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    dumpable_ = questions.leader().call("PR_GET_DUMPABLE", SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
    for (const FrozenThread& thread : target.threads()) {
      CallBatch& batch = questions.thread(thread.ns_tid);
      ThreadAnswers answers{
          .securebits = batch.call("PR_GET_SECUREBITS", SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0),
          .death_signal = batch.out(sizeof(int))};
      batch.call("PR_GET_PDEATHSIG", SYS_prctl, PR_GET_PDEATHSIG, answers.death_signal, 0, 0, 0);
      threads_.push_back(answers);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    state_.set_dumpable(context.answers.leader().result(dumpable_) == dumpable_by_all);
    const auto threads = context.target.threads();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      CRS_TRY(const ProcDir task, context.target.proc().open_task(threads[i].tid));
      CRS_TRY(const ProcFields status, task.status());
      CRS_TRY(*state_.add_thread(), parse_credentials(status));
      auto& saved = *state_.mutable_thread(static_cast<int>(i));
      const CallBatch& batch = context.answers.thread(threads[i].ns_tid);
      saved.set_thread(threads[i].ns_tid.v);
      saved.set_securebits(static_cast<std::uint32_t>(batch.result(threads_[i].securebits)));
      saved.set_parent_death_signal(static_cast<std::uint32_t>(batch.value<int>(threads_[i].death_signal)));
    }
    if (context.target.ended_leader()) {
      // Whoever signals the process is measured against the leader, even where that has ended (kill(2)).
      CRS_TRY(const ProcDir task, context.target.proc().open_task(Tid(context.target.pid().v)));
      CRS_TRY(const ProcFields status, task.status());
      CRS_TRY(auto leader, parse_credentials(status));
      leader.set_thread(context.target.ns_pid().v);
      leader.set_securebits(state_.thread(0).securebits());
      *state_.add_thread() = std::move(leader);
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    CRS_CHECK(check_thread_ids(state_.thread()));
    if (state_.thread_size() == 0) return Error(Errc::bad_snapshot, "no thread has credentials");
    for (auto& thread : *state_.mutable_thread()) {
      if (thread.uid_size() != 4 || thread.gid_size() != 4)
        return Error(Errc::bad_snapshot, "a thread without four ids");
      if (thread.group_size() > most_groups) return Error(Errc::bad_snapshot, "too many groups");
      if (thread.parent_death_signal() > last_signal)
        return Error(Errc::bad_snapshot, "no such parent death signal");
      std::ranges::sort(*thread.mutable_group());
    }
    return ok();
  }

  // Ids other than ours need the privilege to take them; nothing else here can stop a restart.
  Status check(CheckContext& context) override {
    CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
    CRS_TRY(const ProcFields status, self.status());
    CRS_TRY(const state::ThreadCredentials ours, parse_credentials(status));
    groups_of_restart_.assign(ours.group().begin(), ours.group().end());
    CRS_TRY(const std::string users, self.read("uid_map"));
    CRS_TRY(const std::string groups, self.read("gid_map"));
    std::set<std::string> told;
    for (const auto& thread : state_.thread()) {
      check_ids(context, told, "user id", thread.uid(), ours.uid(), (ours.effective() & bit(CAP_SETUID)) != 0,
                users);
      check_ids(context, told, "group id", thread.gid(), ours.gid(),
                (ours.effective() & bit(CAP_SETGID)) != 0, groups);
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    CRS_TRY(const Now now, read_now(context));
    std::set<std::string> notes;
    for (const auto& thread : state_.thread()) {
      CRS_TRY(CallBatch * batch, batch_of(context, NsPid(thread.thread())));
      CRS_CHECK(rebuild_thread(*batch, thread, now, notes));
      batch->call("PR_SET_DUMPABLE", SYS_prctl, PR_SET_DUMPABLE, state_.dumpable() ? dumpable_by_all : 0, 0,
                  0, 0);
      rebuild_death_signal(context, *batch, thread.parent_death_signal(), notes);
    }
    for (const std::string& text : notes) context.note(text);
    return ok();
  }

  nlohmann::json describe() const override {
    if (state_.thread_size() == 0) return nullptr;
    const auto& leader = state_.thread(0);
    const auto list = [](const auto& ids) { return std::vector<std::uint32_t>(ids.begin(), ids.end()); };
    return {{"uid", list(leader.uid())},
            {"gid", list(leader.gid())},
            {"groups", list(leader.group())},
            {"capabilities", to_hex(leader.effective())},
            {"no_new_privs", leader.no_new_privs()},
            {"dumpable", state_.dumpable()}};
  }

 private:
  struct ThreadAnswers {
    CallBatch::CallId securebits;
    CallBatch::Buffer death_signal;
  };
  // The half-made process as it is before the last phase; the same in every thread.
  struct Now {
    state::ThreadCredentials credentials;
    bool may_set_groups = false;
    bool may_set_securebits = false;  // and drop from the bounding set
  };

  template <class Ids>
  static void check_ids(CheckContext& context, std::set<std::string>& told, const std::string& what,
                        const Ids& saved, const Ids& ours, bool privileged, const std::string& map) {
    if (equal(saved, ours)) return;
    for (const std::uint32_t id : saved) {
      const bool is_ours = std::ranges::find(ours, id) != ours.end();
      if (privileged ? is_mapped(map, id) : is_ours && equal_all(saved)) continue;
      const std::string name = what + " " + std::to_string(id);
      if (!told.insert(name).second) return;
      context.blockers.add(name,
                           privileged ? "this user namespace does not have it"
                                      : "the process had it, and only a privileged restart can take it",
                           "restart as that user, or as root");
      return;
    }
  }

  // Real, effective, saved and file system id are one: what a fork of ours has without privilege.
  template <class Ids>
  static bool equal_all(const Ids& ids) {
    return std::ranges::adjacent_find(ids, std::ranges::not_equal_to{}) == ids.end();
  }

  static Result<Now> read_now(RebuildContext& context) {
    CRS_TRY(const ProcDir proc, ProcDir::open(context.pid()));
    CRS_TRY(const ProcFields status, proc.status());
    Now now;
    CRS_TRY(now.credentials, parse_credentials(status));
    // Absent before Linux 3.19, where an unprivileged user namespace could not deny it.
    const auto setgroups = proc.read("setgroups");
    const bool allowed = !setgroups || setgroups->starts_with("allow");
    now.may_set_groups = allowed && (now.credentials.effective() & bit(CAP_SETGID)) != 0;
    now.may_set_securebits = (now.credentials.effective() & bit(CAP_SETPCAP)) != 0;
    // Those of the process cannot be seen from outside; a user namespace that a restart made starts without
    // any.
    const std::string ours = "/proc/self/ns/user";
    CRS_TRY(const std::string our_namespace, read_link(ours));
    CRS_TRY(const std::string its_namespace, proc.read_link("ns/user"));
    const int securebits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
    now.credentials.set_securebits(
        our_namespace == its_namespace && securebits > 0 ? static_cast<std::uint32_t>(securebits) : 0);
    return now;
  }

  Status rebuild_thread(CallBatch& batch, const state::ThreadCredentials& saved, const Now& now,
                        std::set<std::string>& notes) const {
    const auto& have = now.credentials;
    rebuild_groups(batch, saved, now, notes);
    CRS_CHECK(rebuild_ids(batch, saved, now));
    // The securebits that let the ids change must go again.
    const bool same = equal(saved.uid(), have.uid()) && have.inheritable() == saved.inheritable() &&
                      have.permitted() == saved.permitted() && have.effective() == saved.effective() &&
                      have.bounding() == saved.bounding() && have.ambient() == saved.ambient() &&
                      have.securebits() == saved.securebits();
    if (!same) CRS_CHECK(rebuild_capabilities(batch, saved, now, notes));
    if (saved.no_new_privs()) {
      batch.call("PR_SET_NO_NEW_PRIVS", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    } else if (have.no_new_privs()) {
      notes.insert("no_new_privs is set, because the restart runs with it");
    }
    return ok();
  }

  // With a parent that leaves at once, the signal would end the program that was just brought back.
  static void rebuild_death_signal(RebuildContext& context, CallBatch& batch, std::uint32_t signal,
                                   std::set<std::string>& notes) {
    const bool set = signal != 0 && context.options().parent_waits;
    batch.call("PR_SET_PDEATHSIG", SYS_prctl, PR_SET_PDEATHSIG, set ? signal : 0, 0, 0, 0);
    if (signal != 0 && !set) {
      notes.insert("signal " + std::to_string(signal) +
                   " at the death of the parent (PR_SET_PDEATHSIG) is off: the parent of that time is gone");
    }
  }

  void rebuild_groups(CallBatch& batch, const state::ThreadCredentials& saved, const Now& now,
                      std::set<std::string>& notes) const {
    if (equal(saved.group(), now.credentials.group())) return;
    if (!now.may_set_groups) {
      if (equal(saved.group(), groups_of_restart_)) return;
      notes.insert(
          "the supplementary groups are those of the restart, because changing them needs privilege");
      return;
    }
    const std::vector<std::uint32_t> groups(saved.group().begin(), saved.group().end());
    batch.call("setgroups", SYS_setgroups, groups.size(), batch.in(std::as_bytes(std::span(groups))));
  }

  static Status rebuild_ids(CallBatch& batch, const state::ThreadCredentials& saved, const Now& now) {
    if (!equal(saved.gid(), now.credentials.gid())) {
      batch.call("setresgid", SYS_setresgid, saved.gid(0), saved.gid(1), saved.gid(2));
      batch.try_call(SYS_setfsgid,
                     saved.gid(3));  // answers the id that was; never fails for one who may change ids
    }
    if (equal(saved.uid(), now.credentials.uid())) return ok();
    if (!now.may_set_securebits) {
      return Error(Errc::permission, "cannot become uid " + std::to_string(saved.uid(0)))
          .with_hint("this needs the capability CAP_SETPCAP beside CAP_SETUID");
    }
    batch.call("PR_SET_SECUREBITS", SYS_prctl, PR_SET_SECUREBITS,
               now.credentials.securebits() | SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
    batch.call("setresuid", SYS_setresuid, saved.uid(0), saved.uid(1), saved.uid(2));
    batch.try_call(SYS_setfsuid, saved.uid(3));
    return ok();
  }

  static Status rebuild_capabilities(CallBatch& batch, const state::ThreadCredentials& saved, const Now& now,
                                     std::set<std::string>& notes) {
    const auto& have = now.credentials;
    const std::uint64_t permitted = saved.permitted() & have.permitted();
    const std::uint64_t effective = saved.effective() & permitted;
    const std::uint64_t inheritable = saved.inheritable() & (have.inheritable() | have.bounding());
    const std::uint64_t ambient = saved.ambient() & permitted & inheritable;
    const std::uint64_t missing = (saved.permitted() & ~permitted) | (saved.inheritable() & ~inheritable) |
                                  (saved.bounding() & ~have.bounding());
    if (missing != 0) {
      notes.insert("capabilities " + to_hex(missing) +
                   " cannot be had here; the process goes on without them");
    }
    set_capabilities(batch, have.effective(), have.permitted(), inheritable);
    CRS_CHECK(drop_bounding(batch, saved, now));
    batch.call("PR_CAP_AMBIENT_CLEAR_ALL", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned capability = 0; capability < 64; ++capability) {
      if ((ambient & bit(capability)) == 0) continue;
      batch.call("PR_CAP_AMBIENT_RAISE", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
    }
    if (now.may_set_securebits) {
      batch.call("PR_SET_SECUREBITS", SYS_prctl, PR_SET_SECUREBITS, saved.securebits(), 0, 0, 0);
    } else if (saved.securebits() != have.securebits()) {
      return Error(Errc::permission, "the securebits of the process cannot be set")
          .with_hint("this needs the capability CAP_SETPCAP");
    }
    set_capabilities(batch, effective, permitted, inheritable);
    return ok();
  }

  // With no_new_privs no executed file gives capabilities, and the bounding set means little; without, it
  // must be as it was.
  static Status drop_bounding(CallBatch& batch, const state::ThreadCredentials& saved, const Now& now) {
    const std::uint64_t excess = now.credentials.bounding() & ~saved.bounding();
    if (excess == 0) return ok();
    if (!now.may_set_securebits) {
      if (saved.no_new_privs()) return ok();
      return Error(Errc::permission,
                   "the capability bounding set " + to_hex(saved.bounding()) + " cannot be set")
          .with_hint("this needs the capability CAP_SETPCAP");
    }
    for (unsigned capability = 0; capability < 64; ++capability) {
      if ((excess & bit(capability)) == 0) continue;
      batch.call("PR_CAPBSET_DROP", SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
    return ok();
  }

  static void set_capabilities(CallBatch& batch, std::uint64_t effective, std::uint64_t permitted,
                               std::uint64_t inheritable) {
    struct Sets {
      std::uint32_t effective, permitted, inheritable;
    };
    const auto low = [](std::uint64_t set) { return static_cast<std::uint32_t>(set); };
    const auto high = [](std::uint64_t set) { return static_cast<std::uint32_t>(set >> 32); };
    struct Both {
      Sets low, high;
    };
    static_assert(sizeof(Both) == sizeof(__user_cap_data_struct) * _LINUX_CAPABILITY_U32S_3);
    const __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const Both sets{{low(effective), low(permitted), low(inheritable)},
                    {high(effective), high(permitted), high(inheritable)}};
    batch.call("capset", SYS_capset, batch.in_value(header), batch.in_value(sets));
  }

  CallBatch::CallId dumpable_;
  std::vector<ThreadAnswers> threads_;
  // As check() saw them: from inside of the user namespace of a restart most of them have no number.
  std::vector<std::uint32_t> groups_of_restart_;
  state::Credentials state_;
};

}  // namespace

extern constinit const KindInfo kind_credentials{
    .section = "credentials", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<CredentialsKind>();
    }};

}  // namespace crs
