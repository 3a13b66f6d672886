// SPDX-License-Identifier: Apache-2.0
// Debugger stop: a process stands still until a debugger has it.
//
// What this file knows
//   The stop point is a group stop (SIGSTOP) of all threads: after the checkpoint is durable, or before a
//   restored process runs its first instruction. Somebody must end it, whatever becomes of crs. That is the
//   guard: a process of its own
//   ("crs-guard"), which sends SIGCONT when a debugger has all threads (a debugger that finds a group stop
//   would stop again at each `continue`), when it has gone and left the process stopped, when no debugger
//   comes in time, and when crs ends. If the guard dies, crs sends it. Only crs itself does not count as a
//   debugger, so that another checkpoint may be taken meanwhile. A program that handles SIGCONT sees one; a
//   debugger reports it (gdb: "handle SIGCONT nostop noprint").
//
// Kernel interfaces: signal(7), pidfd_send_signal(2), proc(5) status, ptrace(2).
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <initializer_list>
#include <string>

#include "cli/interrupt.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "service/service.h"

namespace crs {

// --attach-debugger, --detach-debugger and --debugger-limit, which come before the parameters of the service.
class DebuggerOptions {
 public:
  void declare(CLI::App& app, std::initializer_list<CLI::Option*> excluded);
  bool wanted(const Service& service) const;
  std::chrono::seconds limit(const Service& service) const;

 private:
  bool attach_ = false, detach_ = false;
  std::int64_t limit_ = 0;  // 0: not given
};

class DebuggerStop {
 public:
  // Makes the guard, before the process is stopped, or right after. errors: kernel, not_found.
  static Result<DebuggerStop> guard(Pid pid, std::chrono::seconds limit);
  static bool is_stopped(Pid pid);  // by job control or by a tracer, so that there is nothing to guard
  DebuggerStop(DebuggerStop&&) = default;
  DebuggerStop& operator=(DebuggerStop&&) = delete;
  ~DebuggerStop();  // without wait(): the process was not stopped

  // "pid 4711 waits for a debugger: gdb -p 4711", with a command that finds it.
  std::string invitation() const;
  // The process stands: waits until it does not any more, or until crs is interrupted, which ends the stop.
  // What became of it, in a sentence; empty: a debugger has it.
  std::string wait(const InterruptGuard& interrupt);

 private:
  DebuggerStop(Pid pid, OwnedFd pidfd, OwnedFd channel, std::chrono::seconds limit)
      : pid_(pid), pidfd_(std::move(pidfd)), channel_(std::move(channel)), limit_(limit) {}
  Pid pid_;
  OwnedFd pidfd_, channel_;  // channel_: to the guard, until wait()
  std::chrono::seconds limit_;
};

}  // namespace crs
