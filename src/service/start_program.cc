// SPDX-License-Identifier: Apache-2.0
#include "service/start_program.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "os/child.h"
#include "service/agent_variables.h"

namespace crs {
namespace {

// The descriptor becomes the file at the path.
bool put(const char* path, int fd) {
  const int opened = open(path, O_RDWR | O_CREAT | O_NOCTTY, 0666);
  const int file = opened >= 0 ? opened : open(path, O_RDONLY | O_NOCTTY);
  if (file < 0) return false;
  if (file == fd) return true;
  const bool good = dup2(file, fd) == fd;
  close(file);
  return good;
}

struct Words {
  std::vector<char*> arguments, environment;
};

// In the child: descriptors, directory, then the program. Only plain system calls.
void become(const ProgramStart& program, const Words& words, const RestartRequest& request, int kept_fd) {
  sigset_t nothing;
  sigemptyset(&nothing);
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &nothing, nullptr);
  bool good = true;
  for (int fd = 0; fd <= 2 && request.stdio == Stdio::null; ++fd) good = good && put("/dev/null", fd);
  for (const auto& [fd, path] : request.fd_paths)
    good = good && fd != kept_fd && fd != program.passed_fd && put(path.c_str(), fd);
  if (good && program.passed_fd >= 0) good = fcntl(program.passed_fd, F_SETFD, 0) == 0;
  if (good && chdir(program.directory.c_str()) == 0)
    execve(program.executable.c_str(), words.arguments.data(), words.environment.data());
}

}  // namespace

Status ProgramStart::check(const std::string& section) const {
  const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  const bool damaged = arguments.empty() || executable.empty() || !directory.starts_with('/') ||
                       has_nul(executable) || has_nul(directory) || std::ranges::any_of(arguments, has_nul) ||
                       std::ranges::any_of(environment, has_nul);
  if (damaged)
    return Error(Errc::bad_snapshot, "section " + section + " does not say how to start a program");
  return ok();
}

Status check_starts_anew(const std::string& component, const RestartRequest& request) {
  if (request.pid != PidChoice::automatic) {
    return Error(Errc::unsupported, "component " + component + " starts the program anew, under any pid")
        .with_hint("--pid auto");
  }
  if (request.stands) {
    return Error(Errc::unsupported,
                 "component " + component + " starts the program anew, for which no debugger is waited")
        .with_hint("start it by the debugger instead, and restart with --detach-debugger");
  }
  if (request.clock == ClockChoice::go_on) {
    return Error(Errc::unsupported,
                 "component " + component + " starts the program anew, with the clocks of here")
        .with_hint("--clock host");
  }
  if (request.stdio == Stdio::saved) {
    return Error(Errc::unsupported, "component " + component + " has no saved descriptors")
        .with_hint("--stdio inherit");
  }
  return ok();
}

Result<RestartInfo> start_program(const ProgramStart& program, const RestartRequest& request) {
  std::vector<std::string> environment = program.environment;
  for (const std::string& variable : request.variables) {
    const auto equals = variable.find('=');
    set_variable(environment, variable.substr(0, equals), variable.substr(equals + 1));
  }
  const Words words{pointers_to(program.arguments), pointers_to(environment)};
  CRS_TRY(const Pid pid, start_child([&](int kept_fd) { become(program, words, request, kept_fd); },
                                     "start " + program.executable + " in " + program.directory));
  RestartInfo info;
  info.pid = pid;
  info.child = pid;
  info.ns_pid = NsPid(pid.v);
  return info;
}

}  // namespace crs
