// SPDX-License-Identifier: Apache-2.0
#include "service/start_program.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "os/child.h"

namespace crs {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const auto& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

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

Result<Pid> start_program(const ProgramStart& program, const RestartRequest& request) {
  const Words words{pointers(program.arguments), pointers(program.environment)};
  return start_child([&](int kept_fd) { become(program, words, request, kept_fd); },
                     "start " + program.executable + " in " + program.directory);
}

}  // namespace crs
