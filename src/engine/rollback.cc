// SPDX-License-Identifier: Apache-2.0
// Rollback: a running process goes back to its own snapshot, in place.
//
// What this file knows
//   The order: everything that can be known is found out while the process runs, as the process itself would
//   find it (guise.h); then it is frozen, looked at once more, and a program is executed in it that restarts
//   the snapshot in place (in_place.h). execve(2) ends its other threads and keeps its number, its parent,
//   its session and its streams. That is the point of no return: until then the process runs on whatever
//   fails. Then nobody here has to do anything but listen: if we are killed, the restart goes on.
//
// Kernel interfaces: ptrace(2), execve(2), pidfd_open(2).   Round trip: tests/cli/test_rollback.py
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "engine/engine.h"
#include "engine/executable.h"
#include "engine/guise.h"
#include "engine/in_place.h"
#include "engine/page_saver.h"
#include "engine/remote_calls.h"
#include "engine/replace_program.h"
#include "engine/report_channel.h"
#include "engine/restoration.h"

namespace crs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int pr_get_mdwe = 66;  // since Linux 6.3

Error not_its_own(const std::string& why) {
  return Error(Errc::refused, "the snapshot is not one of this process: " + why)
      .with_hint("crs restart brings the snapshot's program back beside it");
}

// That the process is the saved one, or was brought back from it.
Status check_identity(Pid pid, const ProcFields& status, const store::Manifest& manifest) {
  const auto numbers = status.numbers("NSpid");
  const std::int64_t own = numbers.empty() ? pid.v : static_cast<std::int64_t>(numbers.back());
  if (own != manifest.pid) {
    return not_its_own("it has the number " + std::to_string(own) + ", and the saved one had " +
                       std::to_string(manifest.pid));
  }
  CRS_TRY(const std::string executable,
          read_link("/proc/" + std::to_string(pid.v) + "/exe").context("look into " + to_string(pid)));
  if (!executes_same_file(pid, manifest.executable))
    return not_its_own("it runs " + executable + ", and the saved one ran " + manifest.executable);
  return ok();
}

// Where the program is executed, files have the names that they have here.
Status check_root(const ProcDir& proc) {
  struct stat here {
  }, there{};
  if (stat("/", &here) != 0 || fstatat(proc.fd(), "root/", &there, 0) != 0)
    return Error::from_errno(errno, "look at the root directory of the process");
  if (here.st_dev == there.st_dev && here.st_ino == there.st_ino) return ok();
  return Error(Errc::refused, "the process has another root directory (chroot(2)) than crs")
      .with_hint("run crs inside of it");
}

// What it may have become since, and what would stay.
Status check_state(Pid pid, const ProcDir& proc, const ProcFields& status) {
  CRS_TRY(const std::string children, children_of(proc, Pid(getpid())));
  if (!children.empty()) {
    return Error(Errc::refused,
                 "the process has children, which would be left without what they knew: " + children)
        .with_hint("wait until they have ended, and it has waited for them");
  }
  if (status.number("Seccomp").value_or(0) != 0) {
    return Error(Errc::refused,
                 "the process has confined itself by seccomp since, which cannot be taken back")
        .with_hint("end it, and restart the snapshot");
  }
  CRS_TRY(const ProcStat stat, proc.stat());
  if (stat.state == 'T') {
    return Error(Errc::refused, "the process is stopped (job control)")
        .with_hint("let it go on first: kill -CONT " + std::to_string(pid.v));
  }
  return ok();
}

Error after_no_return(Error error) {
  if (error.code() == Errc::refused) error.set_code(Errc::target_gone);  // by the program, as it came back
  return std::move(error.add_context("after the point of no return, so the process has ended"));
}

class Rollback {
 public:
  Rollback(std::span<const KindInfo* const> kinds, Pid pid, const store::SnapshotReader& snapshot,
           const RollbackOptions& options, Events& events)
      : kinds_(kinds), pid_(pid), snapshot_(snapshot), options_(options), events_(events) {}

  Result<RollbackReport> run();

 private:
  Status check();
  PartReport check_in_guise();
  Result<FrozenProcess> freeze();
  Status check_frozen(FrozenProcess& target) const;
  void check_new_program(const Restoration& restoration, Blockers& blockers) const;
  Status check_new_program_in_guise(const ProcDir& proc) const;
  Status prepare_rewind();
  Result<bool> rewind(FrozenProcess& target);
  NewProgram new_program(const std::string& channel) const;

  std::span<const KindInfo* const> kinds_;
  Pid pid_;
  const store::SnapshotReader& snapshot_;
  const RollbackOptions& options_;
  Events& events_;
  std::vector<std::string> notes_;
  RestartOptions rewind_options_;
  std::optional<Restoration> restoration_;  // that may rewind it
};

// That the process may be made anew in place, with all its threads.
void Rollback::check_new_program(const Restoration& restoration, Blockers& blockers) const {
  check_place(restoration.threads(), can_be_shown_as(snapshot_.manifest().executable, options_.program),
              blockers);
}

Status Rollback::check_new_program_in_guise(const ProcDir& proc) const {
  CRS_TRY(auto report, ask_in_guise_of(proc, [this] {
            PartReport answer;
            Blockers blockers;
            Restoration restoration(kinds_, snapshot_, {});
            auto status = restoration.load();
            if (status) check_new_program(restoration, blockers);
            if (status) status = blockers.to_status("the process cannot go back to this snapshot");
            if (!status) answer.error = std::move(status).error();
            return answer;
          }));
  if (report.error) return std::move(*report.error);
  return ok();
}

// Before anything is frozen. Nothing where the snapshot holds the memory itself.
Status Rollback::prepare_rewind() {
  CRS_TRY(const auto keeper, MemoryKeeper::find(snapshot_.manifest()));
  if (!keeper) return ok();
  rewind_options_ = {.restore = options_.restore, .deadline = options_.deadline, .workers = options_.workers};
  rewind_options_.restore.in_place = true;
  rewind_options_.restore.parent_waits = true;
  rewind_options_.restore.replaced = pid_;
  restoration_.emplace(kinds_, snapshot_, rewind_options_);
  CRS_CHECK(restoration_->load().context(snapshot_.path()));
  Blockers blockers;
  CRS_CHECK(restoration_->check(blockers));
  return blockers.to_status("the process cannot go back to this snapshot");
}

// As the process that it is. false: it must be made anew, and nothing has happened to it.
Result<bool> Rollback::rewind(FrozenProcess& target) {
  if (!restoration_) return false;
  auto plan = restoration_->plan_rewind(target, kinds_);
  if (!plan && plan.error().code() != Errc::unsupported) return std::move(plan).error();
  if (plan) {
    auto done = restoration_->rewind(target, *plan, notes_);
    if (done) return true;
    Error error = std::move(done).error();
    if (error.code() != Errc::unsupported) return after_no_return(std::move(error));
    plan = std::move(error);
  }
  const std::string why = "the process must be made anew (" + plan.error().message() + ")";
  CRS_CHECK(check_new_program_in_guise(target.proc()).context(why));
  notes_.push_back(why);
  return false;
}

PartReport Rollback::check_in_guise() {
  PartReport report;
  Blockers blockers;
  const auto look = [&]() -> Status {
    RestartOptions options{.restore = options_.restore, .deadline = options_.deadline};
    options.restore.in_place = true;
    options.restore.parent_waits = true;
    options.restore.replaced = pid_;
    Restoration restoration(kinds_, snapshot_, options);
    CRS_CHECK(restoration.load().context(snapshot_.path()));
    CRS_CHECK(restoration.check(blockers));
    if (!restoration.has_keeper()) check_new_program(restoration, blockers);
    if (access(options_.program.c_str(), X_OK) != 0)
      return Error::from_errno(errno, "run " + options_.program + " as the process");
    // The files of the snapshot are open here, and must be opened there once more.
    auto again = store::SnapshotReader::open(snapshot_.path());
    if (again) return blockers.to_status("the process cannot go back to this snapshot");
    Error error = std::move(again).error().with_context("as the process");
    if (error.code() == Errc::permission && error.hint().empty())
      error.set_hint("make the snapshot, and roll back, as the user of the process");
    return error;
  };
  auto status = look();
  if (!status) report.error = std::move(status).error();
  report.notes = blockers.notes();
  return report;
}

Status Rollback::check() {
  CRS_CHECK(check_machine(snapshot_.manifest()));
  CRS_TRY(const ProcDir proc, ProcDir::open(pid_));
  CRS_TRY(const ProcFields status, proc.status());
  if (status.number("Tgid") != static_cast<std::uint64_t>(pid_.v)) {
    return Error(Errc::not_found, std::to_string(pid_.v) + " is a thread of process " +
                                      std::to_string(status.number("Tgid").value_or(0)))
        .with_hint("give the pid of the process");
  }
  CRS_CHECK(check_identity(pid_, status, snapshot_.manifest()));
  CRS_CHECK(check_root(proc));
  CRS_CHECK(check_state(pid_, proc, status));
  CRS_TRY(auto report, ask_in_guise_of(proc, [this] { return check_in_guise(); }));
  if (report.error) return std::move(*report.error);
  notes_ = std::move(report.notes);
  return verify_before(
      snapshot_, {.restore = options_.restore, .deadline = options_.deadline, .workers = options_.workers},
      events_);
}

Result<FrozenProcess> Rollback::freeze() {
  for (;;) {
    if (options_.gate != nullptr)
      CRS_CHECK(options_.gate->await_open(options_.deadline,
                                          [&](const std::string& text) { events_.delayed(text); }));
    CRS_TRY(FrozenProcess frozen, FrozenProcess::freeze(pid_, options_.deadline));
    if (options_.gate == nullptr || options_.gate->is_open()) return frozen;  // else a thread slipped in
  }
}

Status Rollback::check_frozen(FrozenProcess& target) const {
  if (target.group_stopped()) return Error(Errc::refused, "the process was stopped (job control)");
  CRS_CHECK(check_state(pid_, target.proc(), target.status()));
  CRS_TRY(const auto sharing, target.sharing_processes());
  if (!sharing.empty()) {
    return Error(Errc::refused, "the process shares memory, descriptors or its working directory with " +
                                    to_string(sharing.front()))
        .with_hint("wait until that has ended");
  }
  CallBatch batch;
  const auto denies = batch.try_call(SYS_prctl, pr_get_mdwe, 0, 0, 0, 0);
  const RemoteJob job{0, &batch};
  CRS_CHECK(make_remote_calls(target, std::span(&job, 1), options_.deadline));
  if (batch.result(denies) > 0) {
    return Error(Errc::refused, "the process has denied itself new executable memory (PR_SET_MDWE), for good")
        .with_hint("end it, and restart the snapshot");
  }
  return ok();
}

NewProgram Rollback::new_program(const std::string& channel) const {
  NewProgram program{options_.program, options_.arguments, options_.environment, {}};
  program.arguments.push_back(channel);
  const std::string& executable = snapshot_.manifest().executable;
  if (can_be_shown_as(executable, options_.program)) program.shown_as = executable;
  return program;
}

Result<RollbackReport> Rollback::run() {
  const auto start = Clock::now();
  events_.phase("check");
  CRS_CHECK(check());
  CRS_CHECK(prepare_rewind());
  CRS_TRY(ReportChannel channel, ReportChannel::open());
  const OwnedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid_.v, 0)));
  if (!pidfd) return Error::from_errno(errno, "pidfd_open " + to_string(pid_), Errc::target_gone);

  events_.phase("freeze");
  std::optional<FrozenProcess> target;
  {
    CRS_TRY(FrozenProcess frozen, freeze());
    target.emplace(std::move(frozen));
  }
  const Clock::time_point frozen_at(target->stopped_at());
  CRS_CHECK(check_frozen(*target));
  RollbackReport report;
  events_.phase("rewind");
  CRS_TRY(const bool back, rewind(*target));
  if (back) {
    report.made_anew = false;
    report.stop = Clock::now() - frozen_at;
    report.total = Clock::now() - start;
    report.notes = std::move(notes_);
    return report;
  }
  events_.phase("replace");
  CRS_CHECK(replace_program(*target, new_program(channel.name()), options_.deadline));

  events_.phase("restore");
  auto told = channel.receive(pid_, pidfd.get());
  if (!told) return after_no_return(std::move(told).error());
  if (told->error) return after_no_return(std::move(*told->error));
  report.stop = Clock::now() - frozen_at;
  report.total = Clock::now() - start;
  report.notes = std::move(notes_);
  report.notes.insert(report.notes.end(), told->notes.begin(), told->notes.end());
  return report;
}

}  // namespace

Result<RollbackReport> Engine::rollback(Pid pid, const store::SnapshotReader& snapshot,
                                        const RollbackOptions& options, Events& events) const {
  return Rollback(kinds_, pid, snapshot, options, events).run();
}

}  // namespace crs
