// SPDX-License-Identifier: Apache-2.0
#include "engine/in_place.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "engine/engine.h"
#include "engine/error_message.h"
#include "engine/executable.h"
#include "engine/inherited_state.h"
#include "engine/owned_process.h"
#include "engine/restoration.h"
#include "os/children.h"
#include "os/privileges.h"

namespace crs {

void check_place(const ThreadTable& threads, bool has_executable, Blockers& blockers) {
  if (may_choose_pids()) return;
  blockers.set_kind("in_place");
  const std::size_t count = threads.ids().size() + (threads.ended_leader() ? 1 : 0);
  if (count > 1) {
    blockers.add(
        "threads",
        "the program has " + std::to_string(count) +
            " threads, and to give them their ids takes a right that the process does not have",
        "run the program as root or with CAP_CHECKPOINT_RESTORE, or end it and restart the snapshot");
  }
  if (!has_executable) {
    blockers.add(
        "/proc/PID/exe", "to show the program's own file there takes a right that the process does not have",
        "run the program as root or with CAP_CHECKPOINT_RESTORE, or end it and restart the snapshot");
  }
}

Result<std::string> children_of(const ProcDir& proc, Pid except) {
  std::string names;
  CRS_TRY(const auto tids, proc.tasks());
  for (const Tid tid : tids) {
    const auto task = proc.open_task(tid);
    if (!task) continue;
    const auto list = read_children(*task);
    if (!list && list.error().code() == Errc::not_found) return names;  // no CONFIG_PROC_CHILDREN
    if (!list) continue;
    for (const Pid child : *list) {
      if (child == except) continue;
      const auto its = ProcDir::open(child);
      const auto stat = its ? its->stat() : Result<ProcStat>(Error(its.error()));
      names += (names.empty() ? "" : ", ") + std::to_string(child.v) + (stat ? " (" + stat->comm + ")" : "");
    }
  }
  return names;
}

// --- The process itself

Error Restoration::become(const InPlaceTold& told) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Error::from_errno(errno, "socketpair");
  OwnedFd its(ends[0]);
  const OwnedFd ours(ends[1]);
  CRS_CHECK(take_numbers_aside());
  // The helper must become somebody else's orphan.
  int was_reaper = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &was_reaper);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  BlockedSignals blocked;
  const Pid self(getpid());
  const pid_t middle = fork();
  if (middle == 0) {
    const pid_t helper = fork();
    if (helper != 0) _exit(helper < 0 ? errno : 0);
    close(ours.get());
    help(self, std::move(its), told);
  }
  int error_number = middle < 0 ? errno : 0;
  its.reset();
  int status = 0;
  if (middle > 0 && waitpid(middle, &status, 0) == middle && status != 0) error_number = WEXITSTATUS(status);
  std::string answer(65536, '\0');
  ssize_t got = 0;
  if (error_number == 0) {
    while ((got = recv(ours.get(), answer.data(), answer.size(), 0)) < 0 && errno == EINTR) {
    }
  }
  prctl(PR_SET_PTRACER, 0);
  answer.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  if (answer != "g") {
    prctl(PR_SET_CHILD_SUBREAPER, was_reaper);
    if (error_number != 0) return Error::from_errno(error_number, "make a helper process");
    auto report = PartReport::parse(answer);
    return report && report->error ? std::move(*report->error)
                                   : Error(Errc::target_gone, "the helper process ended");
  }
  blocked.keep();
  clear_inherited_state();
  run_inside(ours.get());
}

// --- The helper, in a copy of it

void Restoration::help(Pid pid, OwnedFd channel, const InPlaceTold& told) {
  prctl(PR_SET_NAME, "crs-restart");
  if (ptrace(PTRACE_SEIZE, pid.v, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
    const PartReport report{.error = Error::from_errno(errno, "trace " + to_string(pid)), .notes = {}};
    const std::string text = report.to_text();
    (void)!write(channel.get(), text.data(), text.size());
    _exit(1);
  }
  std::vector<std::string> notes;
  Status status;
  {
    OwnedProcess process(pid);
    if (write(channel.get(), "g", 1) != 1) {
      status = Error::from_errno(errno, "start the restart in place");
    } else {
      status = finish(pid, channel.get(), notes);
    }
    if (status) process.release();
  }
  told(status ? nullptr : &status.error(), notes);
  _exit(status ? 0 : 1);
}

// --- The engine's part

namespace {

Status check_this_process(const store::Manifest& manifest, const Restoration& restoration,
                          Blockers& blockers) {
  const NsPid saved = restoration.threads().process();
  if (getpid() != saved.v) {
    return Error(Errc::refused, "this is process " + std::to_string(getpid()) + ", and the saved one was " +
                                    to_string(saved))
        .with_hint("in place, a process can only become one that had its number; leave --in-place out");
  }
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const auto children, children_of(self, Pid(0)));
  if (!children.empty()) {
    blockers.set_kind("in_place");
    blockers.add("children " + children,
                 "this process has them from its life so far, and the saved one had none",
                 "let it wait for them first");
  }
  check_place(restoration.threads(), executes_same_file(Pid(getpid()), manifest.executable), blockers);
  CRS_TRY(const auto tasks, self.tasks());
  if (tasks.size() != 1) return Error(Errc::bug, "a process with several threads wants to become another");
  return ok();
}

}  // namespace

Error Engine::restart_in_place(const store::SnapshotReader& snapshot, const RestartOptions& wanted,
                               const InPlaceTold& told, Events& events) const {
  CRS_CHECK(check_machine(snapshot.manifest()));
  RestartOptions options = wanted;
  options.restore.in_place = true;
  options.restore.parent_waits = true;
  options.restore.lend_terminal = false;
  events.phase("check");
  Restoration restoration(kinds_, snapshot, options);
  CRS_CHECK(restoration.load().context(snapshot.path()));
  Blockers blockers;
  CRS_CHECK(check_this_process(snapshot.manifest(), restoration, blockers));
  CRS_CHECK(restoration.check(blockers));
  CRS_CHECK(blockers.to_status("this snapshot cannot be restarted in place"));
  CRS_CHECK(verify_before(snapshot, options, events));
  for (const std::string& note : blockers.notes()) events.note(note);
  events.phase("restore");
  return restoration.become(told);
}

}  // namespace crs
