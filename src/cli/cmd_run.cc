// SPDX-License-Identifier: Apache-2.0
// crs run: starts a program that is to be saved later, and stands for it.
//
// What this file knows
//   What env(1) answers when it cannot start a program: 126 when it cannot be executed, 127 when it is not
//   found, 125 for everything else. The program gets what crs itself was started with: signal actions and
//   mask, the standard descriptors or their absence, the process group.
// What it leaves to others
//   What a program is (service/program.h), what crs does while it runs (stand_in.h).
//
// Kernel interfaces: execve(2), environ(7), ld.so(8).
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/stand_in.h"
#include "os/child.h"
#include "service/agent_variables.h"
#include "service/installation.h"
#include "service/program.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "crs run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
    "\n"
    "Starts PROGRAM and stands for it: signals go to it, the terminal is its own, and its exit status is "
    "passed\n"
    "on. A program that could never be saved is refused with the reason (exit status 5). 126: it cannot be\n"
    "executed, 127: it is not found, 125: something else failed.\n"
    "\n"
    "  crs run -- python3 job.py           `crs checkpoint` saves it by its pid, as any other program\n"
    "  crs run --agent -- bc               it takes part: it has a control page, as if linked with libcrs";

constexpr int failed = 125, cannot_execute = 126, not_found = 127;

// What a new program inherits of how signals are treated, as it was when crs started.
class InheritedSignals {
 public:
  InheritedSignals() {
    sigprocmask(SIG_SETMASK, nullptr, &mask_);
    for (int number = 1; number < NSIG; ++number) {
      struct sigaction action {};
      sigaction(number, nullptr, &action);  // EINVAL: one of the C library's own
      ignored_[static_cast<std::size_t>(number)] = action.sa_handler == SIG_IGN;
    }
  }
  void restore() const {
    for (int number = 1; number < NSIG; ++number) {
      struct sigaction action {};
      action.sa_handler = ignored_[static_cast<std::size_t>(number)] ? SIG_IGN : SIG_DFL;
      sigaction(number, &action, nullptr);
    }
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
  }

 private:
  sigset_t mask_{};
  std::array<bool, NSIG> ignored_{};
};

// Where the program `word` is, as execvp(3) looks for it. What exists and cannot be run is passed over while
// there may be another. errors: not_found, permission.
Result<std::string> find_program(const std::string& word) {
  if (word.find('/') != std::string::npos) return word;
  const char* const variable = std::getenv("PATH");
  const std::string folders = variable != nullptr ? variable : "/bin:/usr/bin";
  bool denied = word.empty();
  for (std::size_t at = 0; at <= folders.size() && !word.empty();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string path = end > at ? folders.substr(at, end - at) + "/" + word : "./" + word;
    at = end + 1;
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) {
      denied = denied || errno == EACCES;
      continue;
    }
    if (S_ISREG(status.st_mode) && access(path.c_str(), X_OK) == 0) return path;
    denied = true;
  }
  if (!denied || word.empty()) {
    Error error(Errc::not_found, "there is no program '" + word + "' in PATH");
    return std::move(error.set_errno(ENOENT));
  }
  return Error::from_errno(EACCES, "run '" + word + "'");
}

class Run : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_flag("--agent", agent_, "preload libcrs, so that the program and its children take part");
    app.add_flag("--force", force_, "start it though it can never be saved, or cannot take part");
    app.add_option("--store", store_, "CRS_STORE for the program, the store that it saves itself in")
        ->type_name("DIR");
    app.add_option("--rank", rank_, "CRS_RANK for the program, its number among several")
        ->type_name("N")
        ->check(CLI::Range(0, INT32_MAX));
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const InheritedSignals signals;
    const auto& words = invocation.program;
    Report report(words.empty() ? "run" : "run " + words[0], false);
    if (words.empty()) return report.fail(Error(Errc::usage, "a program to run is missing"));
    if (words[0].starts_with('-') && !invocation.program_was_marked)
      return report.fail(
          Error(Errc::usage, "there is no option " + words[0])
              .with_hint("`crs help run` lists all; `--` comes before a program of that name"));
    auto launch = prepare(invocation);
    if (!launch) return report.fail(launch.error(), status_of(launch.error()));

    StandIn stand_in(TerminalSettings::put_back_after_a_signal);
    InterruptGuard interrupt;
    auto pid = start(*launch, signals, invocation.closed_at_start);
    if (!pid) {
      const int number = pid.error().error_number();
      return report.fail(pid.error(), number == ENOENT ? not_found : cannot_execute);
    }
    RestartInfo info;
    info.pid = info.child = *pid;
    return stand_in.stand_for(std::move(info), interrupt);
  }

 private:
  struct Launch {
    std::string path;
    std::vector<std::string> words, environment;
  };

  static int status_of(const Error& error) {
    switch (error.code()) {
      case Errc::usage:
      case Errc::refused: return exit_code(error.code());
      case Errc::not_found: return error.error_number() != 0 ? not_found : failed;
      case Errc::permission: return cannot_execute;
      default: return failed;
    }
  }

  Result<Launch> prepare(const Invocation& invocation) const {
    if (!invocation.assignments.empty()) {  // what a misspelled one means here is that it is told
      CRS_TRY([[maybe_unused]] const auto service, invocation.make_service());
    }
    Launch launch{.path = {}, .words = invocation.program, .environment = {}};
    CRS_TRY(launch.path, find_program(launch.words[0]));
    CRS_CHECK(examine(launch.path));
    for (const char* const* each = invocation.environment; *each != nullptr; ++each)
      launch.environment.emplace_back(*each);
    if (!rank_.empty()) set_variable(launch.environment, "CRS_RANK", rank_);
    if (!store_.empty()) {
      CRS_TRY(const auto store, absolute_path(store_));
      set_variable(launch.environment, "CRS_STORE", store);
    }
    if (agent_) {
      auto library = find_library();
      if (!library) return std::move(library.error().set_code(Errc::unsupported));  // the program is there
      CRS_CHECK(add_agent(launch.environment, *library));
    }
    return launch;
  }

  // What is neither a program nor a script the kernel or sh may know what to do with.
  Status examine(const std::string& path) const {
    const auto program = look_at_program(path);
    if (!program) return program.error().error_number() == ENOEXEC ? ok() : Status(program.error());
    if (force_) return ok();
    const auto hint = "--force starts it nevertheless";
    if (!program->why_not_saved.empty()) return Error(Errc::refused, program->why_not_saved).with_hint(hint);
    if (agent_ && !program->why_not_preloaded.empty())
      return Error(Errc::refused, "--agent: " + program->why_not_preloaded)
          .with_hint("without --agent it is saved from outside; " + std::string(hint));
    return ok();
  }

  static Result<Pid> start(Launch& launch, const InheritedSignals& signals, std::bitset<3> closed) {
    const auto arguments = pointers_to(launch.words);
    const auto environment = pointers_to(launch.environment);
    std::vector<std::string> sh_words{"sh", launch.path};
    sh_words.insert(sh_words.end(), launch.words.begin() + 1, launch.words.end());
    const auto sh_arguments = pointers_to(sh_words);
    const auto become = [&](int) {
      signals.restore();
      for (int fd = 0; fd <= 2; ++fd) {
        if (closed.test(static_cast<std::size_t>(fd))) close(fd);
      }
      execve(launch.path.c_str(), arguments.data(), environment.data());
      if (errno == ENOEXEC) execve("/bin/sh", sh_arguments.data(), environment.data());  // as execvp(3) does
    };
    return start_child(become, launch.path);
  }

  std::string store_, rank_;
  bool agent_ = false, force_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_run{
    .name = "run",
    .summary = "start a program that is to be saved later",
    .position = 15,
    .starts_program = true,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Run>(); }};

}  // namespace crs
