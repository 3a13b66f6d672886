// SPDX-License-Identifier: Apache-2.0
// crs restart: brings a saved process back.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "cli/command.h"
#include "cli/debugger_stop.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/stand_in.h"
#include "engine/report_channel.h"
#include "os/file_io.h"
#include "os/owned_fd.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "SNAPSHOT is a path, JOB (its latest) or JOB@N. In the foreground crs stands for the program: signals go "
    "to\n"
    "it, the terminal is its own, and its exit status is passed on; 125 says that it could not be brought "
    "back.\n"
    "\n"
    "  crs restart python3-4711            the latest snapshot of that job\n"
    "  crs restart nightly@3 --detach      in the background; prints the pid\n"
    "  crs restart ./snapshot --pid same   with the old pid or not at all";

constexpr int restart_failed = 125;

// The number appears whole or not at all. That it can appear is found out before there is a process.
class PidFile {
 public:
  PidFile() = default;
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile() {
    if (file_) unlink(hidden_.c_str());
  }

  Status prepare(const std::string& path) {
    path_ = path;
    hidden_ = path + ".new." + std::to_string(getpid());
    struct stat status {};
    if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
      return Error::from_errno(EISDIR, "write the pid into " + path, Errc::storage);
    auto file = open_file(hidden_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (!file) {
      const int error_number = file.error().error_number();
      Error error = Error::from_errno(error_number, "write the pid into " + path);
      return std::move(error.set_code(Errc::storage));
    }
    file_ = std::move(*file);
    return ok();
  }

  Status write(Pid pid) {
    auto written = write_all(file_.get(), std::to_string(pid.v) + "\n", hidden_);
    if (written && std::rename(hidden_.c_str(), path_.c_str()) != 0)
      written = Error::from_errno(errno, "rename " + hidden_ + " to " + path_, Errc::storage);
    if (!written) unlink(hidden_.c_str());
    file_.reset();
    return written;
  }

 private:
  std::string path_, hidden_;
  OwnedFd file_;  // until the hidden file has its name
};

class Restart : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("SNAPSHOT", snapshot_, "a path, JOB or JOB@N")->required();
    app.add_flag("-d,--detach", detach_, "return when it runs, and print its pid");
    app.add_option("--pidfile", pid_file_, "write the pid into FILE once it runs")->type_name("FILE");
    app.add_option("--pid", pid_,
                   "auto: the old pid if it is free; same: or fail; namespace: in one of its own")
        ->check(CLI::IsMember({"auto", "same", "namespace"}));
    auto* in_place =
        app.add_flag("--in-place", in_place_, "crs itself becomes the program: same pid, same parent");
    in_place->excludes("--detach")->excludes("--pidfile")->excludes("--pid");
    debugger_.declare(app, {in_place});
    app.add_option("--stdio", stdio_, "auto, inherit (ours), saved (its own), null")
        ->check(CLI::IsMember({"auto", "inherit", "saved", "null"}));
    app.add_option("--fd", fd_paths_, "its descriptor N becomes PATH (may be repeated)")
        ->type_name("N=PATH")
        ->expected(1)
        ->take_all();
    app.add_option("--env", variables_,
                   "a variable of its environment, as it is here or as given (may be repeated)")
        ->type_name("NAME[=VALUE]")
        ->expected(1)
        ->take_all();
    app.add_option(
           "--clock", clock_,
           "CLOCK_MONOTONIC and _BOOTTIME: continue (where they stood), host (those of here), or auto: "
           "continue after a start of the system")
        ->check(CLI::IsMember({"auto", "continue", "host"}));
    app.add_option("--files", files_, "files that grew since: rollback, keep, or refuse to restart")
        ->check(CLI::IsMember({"rollback", "keep", "refuse"}));
    app.add_flag("--allow-changed-files", allow_changed_, "though files that it reads have changed");
    app.add_flag("--ignore-cpu", ignore_cpu_, "though this processor lacks features the program has seen");
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "tell the result (with --detach) and errors as JSON");
    app.add_flag("-q,--quiet", quiet_, "no progress");
    app.add_option("--answer", answer_fd_,
                   "descriptor for the JSON answer, so that the streams are the program's")
        ->group("");
    app.add_option("--report", channel_, "of a rollback: the channel that hears how it ended")
        ->group("")
        ->needs(in_place);
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    Report report("restart " + snapshot_, json_);
    report.set_quiet(quiet_);
    if (answer_fd_ >= 0) {
      fcntl(answer_fd_, F_SETFD, FD_CLOEXEC);
      report.set_json_descriptor(answer_fd_);
    }
    if (in_place_) return run_in_place(invocation, report);
    std::optional<StandIn> stand_in;
    if (!detach_) stand_in.emplace(TerminalSettings::put_back);
    std::optional<InterruptGuard> interrupt(std::in_place);

    PidFile pid_file;
    const bool lends_terminal = stand_in && stand_in->had_terminal();
    auto info = work(invocation, report, *interrupt, pid_file, lends_terminal);
    if (!info) {
      if (const int earlier = interrupt->signal(); earlier != 0) {
        report.fail(info.error(), 128 + earlier);
        interrupt.reset();
        return die_of(earlier);
      }
      // A malformed request is told from a program that ended with 2 by nobody, but it is what every command
      // answers.
      const bool usage = info.error().code() == Errc::usage;
      return report.fail(info.error(), detach_ || usage ? 0 : restart_failed);
    }
    int status = 0;
    if (!pid_file_.empty()) {
      if (auto written = pid_file.write(info->pid); !written) {
        // It runs: that is worth more than its pid file.
        report.note(runs_as(*info) + ", but: " + written.error().to_string());
        status = exit_code(Errc::storage);
      }
    }
    if (detach_) {
      const int told = tell(report, *info);
      return told != 0 ? told : status;
    }
    return stand_in->stand_for(std::move(*info), *interrupt);
  }

 private:
  // Returns only when it failed.
  int run_in_place(const Invocation& invocation, const Report& report) {
    OwnedFd channel;
    if (!channel_.empty()) {
      auto connected = ReportChannel::connect(channel_);
      if (!connected) return report.fail(connected.error(), restart_failed);
      channel = std::move(*connected);
    }
    std::optional<InterruptGuard> interrupt(std::in_place);
    const auto told = [&](const Error* error, const std::vector<std::string>& notes) {
      if (channel) {
        ReportChannel::send(channel.get(), {.error = error != nullptr ? std::optional(*error) : std::nullopt,
                                            .notes = notes});
      } else {
        for (const std::string& note : notes) report.note(note);
      }
      if (error != nullptr) report.fail(*error);
    };
    const Error error = become(invocation, report, *interrupt, told);
    if (const int earlier = interrupt->signal(); earlier != 0) {
      report.fail(error, 128 + earlier);
      interrupt.reset();
      return die_of(earlier);
    }
    if (channel) ReportChannel::send(channel.get(), {.error = error, .notes = {}});
    const bool usage = error.code() == Errc::usage || error.code() == Errc::refused;
    return report.fail(error, usage && !channel ? 0 : restart_failed);
  }

  Error become(const Invocation& invocation, const Report& report, const InterruptGuard& interrupt,
               const InPlaceTold& told) {
    CRS_TRY(const auto request, make_request(interrupt));
    CRS_TRY(auto service, invocation.make_service());
    CRS_TRY(const auto path, find_snapshot(snapshot_, store_, service));
    CRS_TRY(const auto snapshot, store::SnapshotReader::open(path));
    Progress progress(report, true);
    return service.restart_in_place(snapshot, request, !channel_.empty(), told, progress);
  }

  Result<RestartRequest> make_request(const InterruptGuard& interrupt) const {
    RestartRequest request;
    CRS_TRY(request.deadline, parse_timeout(timeout_));
    request.deadline.also_when(interrupt.flag());
    request.pid = pid_ == "same"        ? PidChoice::same
                  : pid_ == "namespace" ? PidChoice::pid_namespace
                                        : PidChoice::automatic;
    request.clock = clock_ == "continue" ? ClockChoice::go_on
                    : clock_ == "host"   ? ClockChoice::host
                                         : ClockChoice::automatic;
    request.files = files_ == "keep"     ? ChangedOutput::keep
                    : files_ == "refuse" ? ChangedOutput::refuse
                                         : ChangedOutput::rollback;
    request.stdio = stdio_ == "inherit" ? Stdio::inherit
                    : stdio_ == "saved" ? Stdio::saved
                    : stdio_ == "null"  ? Stdio::null
                                        : Stdio::automatic;
    for (const auto& text : fd_paths_) {
      CRS_TRY(auto fd_path, parse_fd_path(text));
      if (!request.fd_paths.insert(std::move(fd_path)).second) {
        return Error(Errc::usage, "--fd names descriptor " + text.substr(0, text.find('=')) + " twice");
      }
    }
    for (const auto& text : variables_) {
      CRS_TRY(auto variable, parse_variable(text));
      const std::string name = variable.substr(0, variable.find('=') + 1);
      if (std::ranges::any_of(request.variables,
                              [&](const auto& other) { return other.starts_with(name); })) {
        return Error(Errc::usage, "--env names " + name.substr(0, name.size() - 1) + " twice");
      }
      request.variables.push_back(std::move(variable));
    }
    request.allow_changed_files = allow_changed_;
    request.ignore_cpu = ignore_cpu_;
    return request;
  }

  Result<RestartInfo> work(const Invocation& invocation, const Report& report,
                           const InterruptGuard& interrupt, PidFile& pid_file, bool lend_terminal) {
    CRS_TRY(auto request, make_request(interrupt));
    request.parent_waits = !detach_;
    request.lend_terminal = lend_terminal;
    CRS_TRY(auto service, invocation.make_service());
    CRS_TRY(const auto path, find_snapshot(snapshot_, store_, service));
    CRS_TRY(const auto snapshot, store::SnapshotReader::open(path));
    request.stands = debugger_.wanted(service);
    if (!pid_file_.empty()) CRS_CHECK(pid_file.prepare(pid_file_));
    Progress progress(report, quiet_);
    auto outcome = service.restart(snapshot, request, progress);
    auto notes = progress.finish();
    if (const auto* error = outcome.error()) {
      Error shown = *error;
      const std::string number = std::to_string(snapshot.manifest().pid);
      if (request.pid == PidChoice::same && shown.to_string().find(number) == std::string::npos) {
        shown.add_context("under pid " + number);
      }
      return shown;
    }
    RestartInfo info = std::move(outcome.restarted()->info);
    if (request.stands && !info.stopped) await_debugger(report, interrupt, info, debugger_.limit(service));
    for (auto& note : info.notes) {
      if (std::ranges::find(notes, note) != notes.end()) continue;
      if (!report.json()) report.note(note);
      notes.push_back(std::move(note));
    }
    info.notes = std::move(notes);
    return info;
  }

  // It stands already: whatever fails here must let it go.
  static void await_debugger(const Report& report, const InterruptGuard& interrupt, RestartInfo& info,
                             std::chrono::seconds limit) {
    auto stop = DebuggerStop::guard(info.pid, limit);
    if (!stop) {
      kill(info.pid.v, SIGCONT);
      info.notes.push_back("no debugger is waited for: " + stop.error().to_string());
      return;
    }
    report.say("crs: " + stop->invitation());
    if (auto note = stop->wait(interrupt); !note.empty()) info.notes.push_back(std::move(note));
  }

  static std::string runs_as(const RestartInfo& info) {
    return "the program runs as pid " + std::to_string(info.pid.v);
  }

  static int tell(const Report& report, const RestartInfo& info) {
    const int status = report.json() ? report.answer({{"pid", info.pid.v},
                                                      {"child", info.child.v},
                                                      {"own_pid", info.ns_pid.v},
                                                      {"in_namespace", info.in_namespace},
                                                      {"stopped", info.stopped},
                                                      {"total_ns", info.total.count()},
                                                      {"notes", info.notes}})
                                     : report.print(std::to_string(info.pid.v) + "\n");
    if (status != 0) report.note(runs_as(info));
    return status;
  }

  std::string snapshot_, pid_file_, pid_ = "auto", channel_, stdio_ = "auto", files_ = "rollback",
                                    clock_ = "auto", store_, timeout_;
  std::vector<std::string> fd_paths_, variables_;
  DebuggerOptions debugger_;
  int answer_fd_ = -1;
  bool detach_ = false, in_place_ = false, allow_changed_ = false, ignore_cpu_ = false, json_ = false,
       quiet_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_restart{
    .name = "restart",
    .summary = "bring a saved process back",
    .position = 20,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Restart>(); }};

}  // namespace crs
