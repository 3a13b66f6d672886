// SPDX-License-Identifier: Apache-2.0
#include "engine/replace_program.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <cerrno>

#include "engine/executable.h"
#include "engine/remote_calls.h"

namespace crs {
namespace {

constexpr unsigned close_on_exec = 4;  // CLOSE_RANGE_CLOEXEC, since Linux 5.11

CallBatch::Buffer add_strings(CallBatch& batch, const std::vector<std::string>& strings) {
  std::vector<CallBatch::Buffer> texts;
  for (const std::string& text : strings) texts.push_back(batch.in_string(text));
  const std::vector<std::uint64_t> pointers(strings.size() + 1);
  const auto array = batch.in(std::as_bytes(std::span(pointers)));
  for (std::size_t i = 0; i < texts.size(); ++i) batch.point(array, i * sizeof(std::uint64_t), texts[i]);
  return array;
}

// The streams stay open over execve(2), the rest does not; `undo` puts back what execve(2) found wrong.
Status mark_descriptors(const FrozenProcess& process, CallBatch& marks,
                        std::vector<std::pair<int, int>>& undo) {
  CRS_TRY(const auto fds, process.proc().fds());
  for (const RemoteFd fd : fds) {
    CRS_TRY(const auto text, process.proc().read("fdinfo/" + std::to_string(fd.v)));
    const bool closes = (ProcFields::parse(text).number("flags", 8).value_or(0) & O_CLOEXEC) != 0;
    const bool is_stream = fd.v < 3;
    if (closes != is_stream) continue;
    undo.emplace_back(fd.v, closes ? FD_CLOEXEC : 0);
    if (is_stream) marks.try_call(SYS_fcntl, fd, F_SETFD, 0);
  }
  marks.try_call(SYS_close_range, 3u, ~0u, close_on_exec);
  return ok();
}

Result<std::uint64_t> peek(Pid pid, std::uint64_t at) {
  errno = 0;
  const long word = ptrace(PTRACE_PEEKDATA, pid.v, at, nullptr);
  if (errno != 0) return Error::from_errno(errno, "read the new program's stack", Errc::target_gone);
  return static_cast<std::uint64_t>(word);
}

// The stack holds argc, the arguments, 0, the environment, 0, and the auxiliary vector.
Status tell_loader_that_it_is_the_program(Pid pid) {
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, pid.v, nullptr, &registers) != 0)
    return Error::from_errno(errno, "read registers", Errc::target_gone);
  std::uint64_t at = registers.rsp;
  CRS_TRY(const std::uint64_t count, peek(pid, at));
  at += (count + 2) * sizeof(std::uint64_t);
  for (std::uint64_t word = 1; word != 0; at += sizeof word) {
    CRS_TRY(word, peek(pid, at));
  }
  for (;; at += 2 * sizeof(std::uint64_t)) {
    CRS_TRY(const std::uint64_t type, peek(pid, at));
    if (type == AT_NULL) return Error(Errc::target_gone, "the new program has no entry");
    if (type != AT_ENTRY) continue;
    if (ptrace(PTRACE_POKEDATA, pid.v, at + sizeof type, registers.rip) != 0)
      return Error::from_errno(errno, "write the new program's stack", Errc::target_gone);
    return ok();
  }
}

Status let_new_program_run(Pid pid, bool by_loader) {
  if (by_loader) CRS_CHECK(tell_loader_that_it_is_the_program(pid));
  const std::uint64_t all = ~std::uint64_t{0};
  if (ptrace(PTRACE_SETSIGMASK, pid.v, sizeof all, &all) != 0 ||
      ptrace(PTRACE_DETACH, pid.v, nullptr, nullptr) != 0)
    return Error::from_errno(errno, "let the new program run", Errc::target_gone);
  return ok();
}

}  // namespace

bool can_be_shown_as(const std::string& executable, const std::string& program) {
  const auto its = interpreter_of(executable), ours = interpreter_of(program);
  struct stat a {
  }, b{};
  return its && ours && stat(its->c_str(), &a) == 0 && stat(ours->c_str(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino && !changes_credentials(executable);
}

Status replace_program(FrozenProcess& process, const NewProgram& program, Deadline deadline) {
  CallBatch batch;
  std::vector<std::pair<int, int>> undo;
  CRS_CHECK(mark_descriptors(process, batch, undo));
  std::vector<std::string> arguments = program.arguments;
  const bool by_loader = !program.shown_as.empty();
  if (by_loader) arguments.insert(arguments.begin() + 1, program.path);
  const auto path = batch.in_string(by_loader ? program.shown_as : program.path);
  const auto argv = add_strings(batch, arguments), envp = add_strings(batch, program.environment);
  const auto executed = batch.try_call(SYS_execve, path, argv, envp);
  for (const auto& [fd, flags] : undo) batch.try_call(SYS_fcntl, RemoteFd(fd), F_SETFD, flags);

  const Pid pid = process.pid();
  CRS_TRY(const bool replaced, execute_remotely(process, 0, batch, deadline));
  if (!replaced)
    return Error::from_errno(static_cast<int>(-batch.result(executed)),
                             "run " + (by_loader ? program.shown_as : program.path) + " in " + to_string(pid),
                             Errc::refused);
  auto status = let_new_program_run(pid, by_loader);
  if (!status) kill(pid.v, SIGKILL);
  return status;
}

}  // namespace crs
