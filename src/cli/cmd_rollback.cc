// SPDX-License-Identifier: Apache-2.0
// crs rollback: a running process goes back to its own snapshot.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstring>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "os/file_io.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "The process becomes what it was when SNAPSHOT was made: same pid, same parent, same terminal. What it "
    "did\n"
    "since is gone; the files that it was writing are cut back. SNAPSHOT is a path, JOB (its latest) or "
    "JOB@N.\n"
    "Everything that can be checked is checked first, and on an error the process runs on unharmed. Only "
    "when\n"
    "the restart itself fails, after that, the process has ended, and crs says so.\n"
    "\n"
    "  crs rollback 4711 nightly@3         back to the third snapshot of that job\n"
    "  crs rollback 4711 ./snapshot --files keep";

// What crs needs of our environment to run as the process does; the rest may not be meant for its eyes.
bool is_needed(std::string_view entry) {
  constexpr std::array<std::string_view, 8> names{
      "CRS_", "LD_LIBRARY_PATH=", "PATH=", "HOME=", "XDG_", "LANG=", "LC_", "TZ="};
  return std::ranges::any_of(names, [entry](std::string_view name) { return entry.starts_with(name); });
}

class RollbackCommand : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("PID", pid_, "the process")->required();
    app.add_option("SNAPSHOT", snapshot_, "a path, JOB or JOB@N: one of this process")->required();
    app.add_option("--files", files_, "files that grew since: rollback, keep, or refuse")
        ->check(CLI::IsMember({"rollback", "keep", "refuse"}));
    app.add_flag("--allow-changed-files", allow_changed_, "though files that it reads have changed");
    app.add_flag("--ignore-cpu", ignore_cpu_, "though this processor lacks features the program has seen");
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("--timeout", timeout_, "give up, and let it run on, after this long: 30, 500ms, 5m")
        ->type_name("TIME");
    app.add_flag("--json", json_, "tell the result as JSON");
    app.add_flag("-q,--quiet", quiet_, "no progress and no summary");
    app.add_option("--await", await_fd_, "descriptor that tells when the process is ready")->group("");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    Report report("rollback " + pid_, json_);
    report.set_quiet(quiet_);
    InterruptGuard interrupt;
    if (await_fd_ >= 0) await_ready();
    auto done = work(invocation, report, interrupt);
    if (!done && interrupt.signal() != 0) {
      report.fail(done.error(), 128 + interrupt.signal());
      return die_of(interrupt.signal());
    }
    return done ? tell(report, *done) : report.fail(done.error());
  }

 private:
  // The process that asked may have a child for a moment, by which it started us.
  void await_ready() const {
    constexpr int limit = 10'000;  // milliseconds; it may have been killed
    pollfd look{await_fd_, POLLIN, 0};
    (void)poll(&look, 1, limit);
    close(await_fd_);
  }

  Result<RolledBack> work(const Invocation& invocation, const Report& report,
                          const InterruptGuard& interrupt) {
    RollbackRequest request;
    CRS_TRY(request.deadline, parse_timeout(timeout_));
    request.deadline.also_when(interrupt.flag());
    CRS_TRY(request.pid, parse_pid(pid_));
    CRS_CHECK(check_pid(request.pid));
    request.files = files_ == "keep"     ? ChangedOutput::keep
                    : files_ == "refuse" ? ChangedOutput::refuse
                                         : ChangedOutput::rollback;
    request.allow_changed_files = allow_changed_;
    request.ignore_cpu = ignore_cpu_;
    CRS_TRY(auto service, invocation.make_service());
    CRS_TRY(const auto found, find_snapshot(snapshot_, store_, service));
    CRS_TRY(const auto path, absolute_path(found));
    CRS_TRY(const auto snapshot, store::SnapshotReader::open(path));
    CRS_CHECK(add_words(path, invocation, request));
    Progress progress(report, quiet_);
    auto done = service.rollback(snapshot, request, progress);
    auto notes = progress.finish();
    if (!done) return or_its_end(std::move(done).error(), request.pid);
    for (auto& note : done->notes) {
      if (std::ranges::find(notes, note) != notes.end()) continue;
      if (!report.json()) report.note(note);
      notes.push_back(std::move(note));
    }
    done->notes = std::move(notes);
    return done;
  }

  // How crs restarts it, as the process.
  Status add_words(const std::string& path, const Invocation& invocation, RollbackRequest& request) const {
    CRS_TRY(request.program, read_link("/proc/self/exe"));
    request.arguments = {"crs", "restart", "--in-place", "--files", files_};
    if (allow_changed_) request.arguments.emplace_back("--allow-changed-files");
    if (ignore_cpu_) request.arguments.emplace_back("--ignore-cpu");
    for (const std::string& assignment : invocation.assignments) {
      request.arguments.emplace_back("--param");
      request.arguments.push_back(assignment);
    }
    request.arguments.push_back(path);
    request.arguments.emplace_back("--report");
    for (const char* const* entry = invocation.environment; *entry != nullptr; ++entry) {
      if (is_needed(*entry)) request.environment.emplace_back(*entry);
    }
    return ok();
  }

  int tell(const Report& report, const RolledBack& done) const {
    if (report.json()) {
      return report.answer({{"pid", std::stoi(pid_)},
                            {"made_anew", done.made_anew},
                            {"stop_ns", done.stop.count()},
                            {"total_ns", done.total.count()},
                            {"notes", done.notes}});
    }
    report.say(fmt::format("rolled {} back: stood still {}, {} in all", pid_, format_span(done.stop),
                           format_span(done.total)));
    return 0;
  }

  std::string pid_, snapshot_, files_ = "rollback", store_, timeout_;
  int await_fd_ = -1;
  bool allow_changed_ = false, ignore_cpu_ = false, json_ = false, quiet_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_rollback{
    .name = "rollback",
    .summary = "let a running process go back to its snapshot",
    .position = 25,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<RollbackCommand>(); }};

}  // namespace crs
