// SPDX-License-Identifier: Apache-2.0
#include "agent/run_crs.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "os/child.h"
#include "os/file_io.h"

namespace crs::agent {
namespace {

thread_local Watcher* the_watcher = nullptr;

constexpr std::size_t stack_bytes = 128 * 1024;  // for one process, or two after each other

// What the new process needs, all of it made before: it runs in our memory.
struct Launch {
  const char* program;
  char* const* arguments;
  char* const* environment;
  int output, keep, events, null;
  bool our_streams;
  char* second_stack;
  int error = 0;  // errno of what failed before it executed
};

[[noreturn]] void give_up(Launch& launch) {
  launch.error = errno;
  _exit(127);
}

// It gets the descriptor `from` as `to`, whose place `other` may have taken.
void pass(Launch& launch, int from, int to, int& other) {
  if (from < 0) return;
  if (other == to && (other = fcntl(other, F_DUPFD_CLOEXEC, to + 1)) < 0) give_up(launch);
  if (from != to && dup3(from, to, 0) < 0) give_up(launch);
  if (from == to && fcntl(to, F_SETFD, 0) != 0) give_up(launch);
}

int execute(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  // Handlers are code of a program that this process is not.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) sigaction(number, &standard, nullptr);
  if (!launch.our_streams) {
    const int output = launch.output >= 0 ? launch.output : launch.null;
    for (const auto& [from, to] :
         {std::pair(launch.null, 0), std::pair(output, 1), std::pair(launch.null, 2)}) {
      if (from != to && dup3(from, to, 0) < 0) give_up(launch);
    }
  }
  syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
  pass(launch, launch.keep, 3, launch.events);
  int nobody = -1;
  pass(launch, launch.events, 4, nobody);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(launch.program, launch.arguments, launch.environment);
  give_up(launch);
}

// The same as a child of nobody: its parent ends once it has executed, or failed and said so.
int execute_as_orphan(void* argument) {
  Launch& launch = *static_cast<Launch*>(argument);
  if (clone(execute, launch.second_stack, CLONE_VM | CLONE_VFORK, &launch) < 0) give_up(launch);
  _exit(0);
}

std::string beside_library() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&find_crs), &info) == 0 || info.dli_fname == nullptr) return {};
  const auto folder = std::filesystem::path(info.dli_fname).parent_path();
  for (const char* place : {"crs", "../bin/crs", "../../bin/crs"}) {
    const auto path = folder / place;
    if (access(path.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(path)) return path;
  }
  return {};
}

}  // namespace

Result<std::string> find_crs() {
  if (const char* chosen = std::getenv("CRS_PROGRAM"); chosen != nullptr && *chosen != '\0') {
    if (access(chosen, X_OK) == 0) return std::string(chosen);
    return Error::from_errno(errno, "CRS_PROGRAM, " + std::string(chosen), Errc::not_found);
  }
  if (auto path = beside_library(); !path.empty()) return path;
  const char* const path = std::getenv("PATH");
  const std::string folders = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string candidate = folders.substr(at, end - at) + "/crs";
    if (end > at && access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return Error(Errc::not_found, "the program crs is not found")
      .with_hint("install it beside libcrs, or set CRS_PROGRAM to its path");
}

void set_watcher(Watcher* watcher) {
  the_watcher = watcher;
}

Result<pid_t> start_crs(const RunRequest& wanted) {
  RunRequest request = wanted;
  if (the_watcher != nullptr && request.words.front() == "checkpoint") {
    request.events = the_watcher->events();
    if (request.events >= 0) request.words.insert(request.words.end(), {"--events", "4"});
  }
  CRS_TRY(const std::string program, find_crs());
  std::vector<std::string> words{"crs"};
  words.insert(words.end(), request.words.begin(), request.words.end());
  const auto arguments = pointers_to(words);
  const OwnedFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return Error::from_errno(errno, "open /dev/null");
  void* const stack =
      mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return Error::from_errno(errno, "make a stack");
  Launch launch{program.c_str(), arguments.data(),    environ,
                request.output,  request.keep,        request.events,
                null.get(),      request.our_streams, static_cast<char*>(stack) + stack_bytes / 2};
  // No handler of the host may run in the new process, where it would find itself in two places.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t pid = clone(request.orphan ? execute_as_orphan : execute,
                          static_cast<char*>(stack) + stack_bytes, CLONE_VM | CLONE_VFORK, &launch);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  munmap(stack, stack_bytes);
  if (pid < 0) return Error::from_errno(error, "start " + program);
  if (launch.error != 0) {
    (void)reap(pid);
    return Error::from_errno(launch.error, "run " + program);
  }
  if (the_watcher != nullptr && !request.orphan) the_watcher->started(pid);
  return pid;
}

int reap(pid_t pid) {
  int status = 0;
  pid_t got = 0;
  if (the_watcher != nullptr) {
    // Until it has ended somebody may still want it to.
    siginfo_t ended{};
    while (waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT | __WALL) < 0 && errno == EINTR) {
    }
    the_watcher->reaps();
  }
  do {
    got = waitpid(pid, &status, __WALL);
  } while (got < 0 && errno == EINTR);
  return got == pid ? status : -1;
}

std::optional<int> reap_if_ended(pid_t pid) {
  int status = 0;
  if (the_watcher != nullptr) {
    the_watcher->look();
    siginfo_t ended{};
    if (waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT | WNOHANG | __WALL) == 0 &&
        ended.si_pid == 0)
      return std::nullopt;
    the_watcher->reaps();
  }
  const pid_t got = waitpid(pid, &status, __WALL | WNOHANG);
  if (got == pid) return status;
  if (got < 0 && errno != EINTR) return -1;
  return std::nullopt;
}

std::optional<Error> error_in(const nlohmann::json& answer) {
  if (!answer.is_object() || !answer.contains("error")) return std::nullopt;
  const auto& told = answer["error"];
  const int exit = told.value("exit", 10);
  Errc code = Errc::kernel;
  for (int each = 0; each <= static_cast<int>(Errc::bug); ++each) {
    if (to_string(static_cast<Errc>(each)) == told.value("code", "")) code = static_cast<Errc>(each);
  }
  Error error(code, told.value("message", "crs failed with status " + std::to_string(exit)));
  error.set_hint(told.value("hint", ""));
  error.set_errno(told.value("errno", 0));
  return error;
}

namespace {

struct Pipe {
  OwnedFd reading, writing;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  return Pipe{OwnedFd(ends[0]), OwnedFd(ends[1])};
}

// Without `pid`: of a process that is not ours to reap.
Result<nlohmann::json> read_answer(int fd, std::optional<pid_t> pid) {
  std::string text;
  char piece[4096];
  for (;;) {
    if (the_watcher != nullptr) {
      constexpr int milliseconds_between_looks = 50;
      pollfd answer{fd, POLLIN, 0};
      const int found = poll(&answer, 1, milliseconds_between_looks);
      the_watcher->look();
      if (found <= 0) continue;
    }
    const ssize_t got = read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece, static_cast<std::size_t>(got));
  }
  const int status = pid ? reap(*pid) : -1;
  auto answer = nlohmann::json::parse(text, nullptr, false);
  if (answer.is_discarded())
    return Error(Errc::kernel, "crs gave no answer (wait status " + std::to_string(status) + ")");
  if (auto error = error_in(answer)) return std::move(*error);
  return answer;
}

}  // namespace

Result<nlohmann::json> ask_crs(std::vector<std::string> words) {
  CRS_TRY(Pipe pipe, make_pipe());
  CRS_TRY(const pid_t pid, start_crs({.words = std::move(words), .output = pipe.writing.get()}));
  pipe.writing.reset();
  return read_answer(pipe.reading.get(), pid);
}

Result<nlohmann::json> ask_crs_with_our_streams(std::vector<std::string> words) {
  words.insert(words.end(), {"--answer", "3"});
  CRS_TRY(Pipe pipe, make_pipe());
  CRS_TRY(const pid_t pid,
          start_crs({.words = std::move(words), .keep = pipe.writing.get(), .our_streams = true}));
  pipe.writing.reset();
  return read_answer(pipe.reading.get(), pid);
}

Result<nlohmann::json> ask_crs_as_orphan(std::vector<std::string> words) {
  // It must not look at our children before the one that it comes from has been waited for.
  words.insert(words.end(), {"--await", "3"});
  CRS_TRY(Pipe pipe, make_pipe());
  CRS_TRY(Pipe start, make_pipe());
  CRS_TRY(const pid_t pid, start_crs({.words = std::move(words),
                                      .output = pipe.writing.get(),
                                      .keep = start.reading.get(),
                                      .orphan = true}));
  (void)reap(pid);
  (void)!write(start.writing.get(), "", 1);
  pipe.writing.reset();
  return read_answer(pipe.reading.get(), std::nullopt);
}

}  // namespace crs::agent
