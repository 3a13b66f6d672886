// SPDX-License-Identifier: Apache-2.0
// Restart: who the restored process becomes, and under which number.
//
// What this file knows
//   With CAP_CHECKPOINT_RESTORE (or root) clone3(set_tid) gives every thread its old number in our own pid
//   namespace, if it is free. Else a child in new pid and mount namespaces (and, without privilege, a new
//   user namespace in which we are ourselves) becomes init there, mounts a /proc of its own, restores the
//   process with its old numbers, reaps, and passes the end on.
//
// Kernel interfaces: clone3(2), user_namespaces(7), pid_namespaces(7), proc(5).
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "engine/clock_view.h"
#include "engine/engine.h"
#include "engine/error_message.h"
#include "engine/page_saver.h"
#include "engine/restoration.h"
#include "os/privileges.h"

namespace crs {
namespace {

using Clock = std::chrono::steady_clock;
// The first saved number that is taken, with who has it.
std::optional<std::string> taken_number(const ThreadTable& threads) {
  std::vector<NsPid> numbers = threads.ids();
  if (threads.ended_leader()) numbers.insert(numbers.begin(), threads.process());
  for (const NsPid id : numbers) {
    const auto proc = ProcDir::open(Pid(id.v));
    if (!proc) continue;
    const auto stat = proc->stat();
    const auto status = proc->status();
    std::string who = "the number " + to_string(id) + " is taken by ";
    const auto tgid = status ? status->number("Tgid").value_or(0) : 0;
    if (tgid != 0 && tgid != static_cast<std::uint64_t>(id.v))
      who += "a thread of process " + std::to_string(tgid);
    else
      who += "process " + to_string(id);
    if (stat)
      who += " (" + stat->comm + (stat->state == 'Z' ? ", which has ended but was not waited for" : "") + ")";
    return who;
  }
  return std::nullopt;
}

}  // namespace

Status check_machine(const store::Manifest& manifest) {
  utsname here{};
  if (uname(&here) != 0) return Error::from_errno(errno, "uname");
  if (manifest.architecture == here.machine) return ok();
  return Error(Errc::bad_snapshot,
               "the snapshot was made on " + manifest.architecture + ", this machine is " + here.machine)
      .with_hint("restart it on a machine of its own kind");
}

namespace {

// --- The init of a pid namespace ---------------------------------------------------------------------------

Status enter_user_namespace(uid_t uid, gid_t gid) {
  // Denying setgroups(2) is the price for mapping one's own group without privilege (user_namespaces(7)).
  CRS_CHECK(write_small_file("/proc/self/setgroups", "deny"));
  CRS_CHECK(write_small_file("/proc/self/uid_map", std::to_string(uid) + " " + std::to_string(uid) + " 1"));
  return write_small_file("/proc/self/gid_map", std::to_string(gid) + " " + std::to_string(gid) + " 1");
}

void mount_own_proc(std::vector<std::string>& notes) {
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    notes.push_back(
        "/proc cannot be mounted anew here: the program sees the numbers of the outer pid namespace in it");
  }
}

// Nothing of the restarting command stays open in the init, so that its pipes end when it ends.
void let_go_of_everything(int keep) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  if (keep > 3) syscall(SYS_close_range, 3u, static_cast<unsigned>(keep - 1), 0u);
  syscall(SYS_close_range, static_cast<unsigned>(keep + 1), ~0u, 0u);
}

pid_t passed_on_to = 0;  // a handler can reach nothing but static data

// Of those who send something by hand. What a terminal sends, the program gets itself.
void pass_on(int number, siginfo_t* info, void*) {
  if (info->si_code <= 0) kill(passed_on_to, number);
}

// From here on signals wait until pass_signals_on(): without a handler an init would never see them
// (pid_namespaces(7)), and somebody may know of us as soon as we have reported.
void hold_signals() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

// Whoever knows only the child that a restart gave him sends his signals to us.
void pass_signals_on(Pid program) {
  passed_on_to = program.v;
  struct sigaction action {};
  action.sa_sigaction = pass_on;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH})
    sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Reaps until the program has ended, and passes its stops and its end on.
[[noreturn]] void be_init(Pid program, int changes) {
  prctl(PR_SET_NAME, "crs-init");
  let_go_of_everything(changes);
  pass_signals_on(program);
  for (;;) {
    int status = 0;
    const pid_t found = waitpid(-1, &status, __WALL | WUNTRACED);
    if (found < 0 && errno == EINTR) continue;
    if (found != program.v && found >= 0) continue;
    if (found < 0) _exit(1);
    (void)!write(changes, &status, sizeof status);  // nobody may be listening any more
    if (WIFSTOPPED(status)) continue;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}

struct InitSetup {
  const ClockView* clocks = nullptr;
  bool user_namespace = false;
  uid_t uid = 0;
  gid_t gid = 0;
  int report = -1;   // where the result goes
  int changes = -1;  // where the program's wait statuses go
};

[[noreturn]] void run_init(Restoration& restoration, const InitSetup& setup) {
  PartReport report;
  Status status = setup.user_namespace ? enter_user_namespace(setup.uid, setup.gid) : ok();
  if (status) mount_own_proc(report.notes);
  if (status) status = setup.clocks->shift_for_children(report.notes);
  Pid program;
  if (status) {
    auto created = restoration.create(report.notes);
    if (created) {
      program = *created;
    } else {
      status = std::move(created).error();
    }
  }
  if (!status) report.error = std::move(status).error();
  report.ns_pid = program.v;
  const std::string text = report.to_text();
  hold_signals();
  (void)!write(setup.report, text.data(), text.size());
  if (report.error) _exit(1);
  be_init(program, setup.changes);
}

// What the init says, or that the deadline passed before it said anything.
Result<std::string> read_report(int fd, const Deadline& deadline) {
  constexpr int milliseconds_between_looks = 20;  // a signal may come just before the wait
  for (;;) {
    pollfd look{fd, POLLIN, 0};
    const int found = poll(&look, 1, milliseconds_between_looks);
    if (found > 0) return read_fd(fd, "the restart's report");
    if (found < 0 && errno != EINTR) return Error::from_errno(errno, "wait for the restart's report");
    CRS_CHECK(deadline.check("the process was being rebuilt"));
  }
}

// Our number of the init's only child.
Result<Pid> child_of(Pid init, NsPid inner) {
  const std::string number = std::to_string(init.v);
  auto children = read_file("/proc/" + number + "/task/" + number + "/children");
  std::vector<std::string> candidates;
  if (children) {
    std::string word;
    for (const char c : *children + " ") {
      if (c != ' ')
        word += c;
      else if (!word.empty())
        candidates.push_back(std::exchange(word, {}));
    }
  } else {
    CRS_TRY(candidates, list_directory("/proc"));
  }
  for (const std::string& candidate : candidates) {
    const auto pid = parse_number(candidate);
    if (!pid) continue;
    const auto proc = ProcDir::open(Pid(static_cast<pid_t>(*pid)));
    if (!proc) continue;
    const auto status = proc->status();
    if (!status || status->number("PPid") != static_cast<std::uint64_t>(init.v)) continue;
    const auto ids = status->numbers("NSpid");
    if (!ids.empty() && ids.back() == static_cast<std::uint64_t>(inner.v))
      return Pid(static_cast<pid_t>(*pid));
  }
  return Error(Errc::target_gone, "the restored process ended at once");
}

Result<RestartedProcess> restart_in_namespace(Restoration& restoration, const ClockView& clocks) {
  if (restoration.threads().process().v == 1) {
    return Error(Errc::refused,
                 "the process was number 1 of its pid namespace, which cannot be restored yet");
  }
  const bool privileged = may_make_namespaces();
  int report_ends[2], changes_ends[2];
  if (pipe2(report_ends, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  OwnedFd report_in(report_ends[0]), report_out(report_ends[1]);
  if (pipe2(changes_ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error::from_errno(errno, "pipe");
  OwnedFd changes_in(changes_ends[0]), changes_out(changes_ends[1]);

  clone_args arguments{};
  arguments.flags = CLONE_NEWPID | CLONE_NEWNS | (privileged ? 0 : CLONE_NEWUSER);
  arguments.exit_signal = SIGCHLD;
  const InitSetup setup{&clocks, !privileged, geteuid(), getegid(), report_out.get(), changes_out.get()};
  const long init = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (init < 0) {
    const int error_number = errno;
    return Error::from_errno(error_number, "create a pid namespace")
        .with_hint(
            "user namespaces may be forbidden here (sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone); "
            "restart as root");
  }
  if (init == 0) {
    report_in.reset();
    changes_in.reset();
    run_init(restoration, setup);
  }
  report_out.reset();
  changes_out.reset();
  const auto text = read_report(report_in.get(), restoration.deadline());
  auto report = text ? PartReport::parse(*text) : Result<PartReport>(text.error());
  const auto give_up = [&](Error error) {
    kill(static_cast<pid_t>(init), SIGKILL);
    while (waitpid(static_cast<pid_t>(init), nullptr, 0) < 0 && errno == EINTR) {
    }
    return error;
  };
  if (!report) return give_up(std::move(report).error());
  if (report->error) return give_up(std::move(*report->error));
  RestartedProcess process;
  process.child = Pid(static_cast<pid_t>(init));
  process.ns_pid = NsPid(report->ns_pid);
  process.in_namespace = true;
  process.changes = std::move(changes_in);
  process.notes = std::move(report->notes);
  auto pid = child_of(process.child, process.ns_pid);
  // It may have run to its end in the meantime: then only its status is left, and the init's number stands
  // for it.
  process.pid = pid ? *pid : process.child;
  return process;
}

Result<RestartedProcess> restart_here(Restoration& restoration, const ClockView& clocks) {
  RestartedProcess process;
  CRS_CHECK(clocks.shift_for_children(process.notes));
  CRS_TRY(process.pid, restoration.create(process.notes));
  process.child = process.pid;
  process.ns_pid = restoration.threads().process();
  return process;
}

Result<RestartedProcess> restart_as(PidMode mode, Restoration& restoration, const ClockView& clocks) {
  if (mode == PidMode::pid_namespace) return restart_in_namespace(restoration, clocks);
  const bool may = may_choose_pids();
  const auto taken = taken_number(restoration.threads());
  if (mode == PidMode::same) {
    if (!may) {
      return Error(Errc::permission, "may not choose the number of a process")
          .with_hint(
              "that takes root or CAP_CHECKPOINT_RESTORE; without --pid same, the program gets a pid "
              "namespace of "
              "its own, in which it keeps its number");
    }
    if (taken)
      return Error(Errc::busy, *taken).with_hint("end that process, or restart with --pid namespace");
    return restart_here(restoration, clocks);
  }
  if (!may) return restart_in_namespace(restoration, clocks);
  std::string reason = taken.value_or("");
  if (!taken) {
    auto process = restart_here(restoration, clocks);
    if (process || process.error().code() != Errc::busy) return process;
    reason = process.error().message();  // taken in the meantime
  }
  CRS_TRY(auto process, restart_in_namespace(restoration, clocks));
  process.notes.push_back(reason +
                          "; the program runs in a pid namespace of its own, where it keeps its number");
  return process;
}

}  // namespace

Result<RestartedProcess> Engine::restart(const store::SnapshotReader& snapshot, const RestartOptions& options,
                                         Events& events) const {
  const auto start = Clock::now();
  CRS_CHECK(check_machine(snapshot.manifest()));
  events.phase("check");
  Restoration restoration(kinds_, snapshot, options);
  CRS_CHECK(restoration.load().context(snapshot.path()));
  Blockers blockers;
  CRS_CHECK(restoration.check(blockers));
  CRS_CHECK(blockers.to_status("this snapshot cannot be restarted here"));
  CRS_CHECK(verify_before(snapshot, options, events));
  CRS_TRY(const ClockView clocks, ClockView::choose(snapshot.manifest(), options.clock));
  events.phase("restore");
  CRS_TRY(RestartedProcess process, restart_as(options.pid, restoration, clocks));
  process.leads_group = restoration.threads().leads_group() || restoration.threads().leads_session();
  process.stopped = restoration.threads().stopped();
  process.notes.insert(process.notes.begin(), blockers.notes().begin(), blockers.notes().end());
  process.total = Clock::now() - start;
  for (const std::string& note : process.notes) events.note(note);
  return process;
}

Status verify_before(const store::SnapshotReader& snapshot, const RestartOptions& options, Events& events) {
  if (options.verified) return ok();
  events.phase("verify");
  return snapshot.verify(worker_count(options.workers), options.deadline,
                         store::PageFileReader::Depth::stored);
}

Result<nlohmann::json> Engine::inspect(const store::SnapshotReader& snapshot) const {
  const RestartOptions options;
  Restoration restoration(kinds_, snapshot, options);
  CRS_CHECK(restoration.load().context(snapshot.path()));
  return restoration.describe();
}

}  // namespace crs
