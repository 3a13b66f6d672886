// SPDX-License-Identifier: Apache-2.0
#include "service/process_facts.h"

#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

namespace crs {

std::vector<std::string> split_at_nul(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\0', at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

Error of_somebody_else(Error error) {
  if (error.code() == Errc::permission) error.set_hint("the process belongs to somebody else");
  return error;
}

Result<ProcessFacts> collect_facts(Pid pid) {
  ProcessFacts facts;
  facts.pidfd = OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, pid.v, 0)));
  if (!facts.pidfd) {
    if (errno == ESRCH) return Error(Errc::not_found, "there is no process " + std::to_string(pid.v));
    return Error::from_errno(errno, "pidfd_open");
  }
  CRS_TRY(const auto proc, ProcDir::open(pid));
  CRS_TRY(facts.stat, proc.stat());
  if (facts.stat.state == 'Z') return Error(Errc::refused, "the process has ended already (a zombie)");
  CRS_TRY(const auto status, proc.status());
  if (const auto uids = status.numbers("Uid"); !uids.empty()) facts.uid = static_cast<std::uint32_t>(uids[0]);
  facts.threads = status.number("Threads").value_or(1);
  auto executable = proc.read_link("exe");
  if (!executable) return of_somebody_else(std::move(executable).error());
  facts.executable = std::move(*executable);
  CRS_TRY(const auto arguments, proc.read("cmdline"));
  facts.arguments = split_at_nul(arguments);
  return facts;
}

void describe(const ProcessFacts& facts, Pid pid, store::Manifest& manifest) {
  utsname system{};
  uname(&system);  // cannot fail with a good pointer
  manifest.created_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
  manifest.host = system.nodename;
  manifest.architecture = system.machine;
  manifest.kernel = system.release;
  manifest.boot_id = boot_id();
  manifest.pid = pid.v;
  manifest.command = facts.stat.comm;
  manifest.executable = facts.executable;
  manifest.arguments = facts.arguments;
  manifest.uid = facts.uid;
  manifest.threads = facts.threads;
}

Status end_or_stop(const ProcessFacts& facts, AfterCheckpoint after) {
  if (after == AfterCheckpoint::run) return ok();
  const int number = after == AfterCheckpoint::terminate ? SIGKILL : SIGSTOP;
  if (syscall(SYS_pidfd_send_signal, facts.pidfd.get(), number, nullptr, 0) != 0 && errno != ESRCH)
    return Error::from_errno(errno, "pidfd_send_signal");
  return ok();
}

}  // namespace crs
