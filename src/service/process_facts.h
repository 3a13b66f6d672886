// SPDX-License-Identifier: Apache-2.0
// Process facts: what a manifest tells of a process, for components that do not freeze it themselves.
//
// What this file knows
//   A pidfd comes first: what is read by number afterwards is of that process, or of nobody. cmdline of /proc
//   shows the memory of the process: a program that overwrote it (setproctitle) has other arguments than it
//   was started with.
//
// Kernel interfaces: pidfd_open(2), proc(5), uname(2), pidfd_send_signal(2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/proc.h"
#include "os/result.h"
#include "service/component.h"
#include "store/manifest.h"

namespace crs {

struct ProcessFacts {
  OwnedFd pidfd;
  ProcStat stat;
  std::uint32_t uid = 0;
  std::uint64_t threads = 0;
  std::string executable;
  std::vector<std::string> arguments;  // may be none
};

// errors: not_found, permission, refused (it has ended).
Result<ProcessFacts> collect_facts(Pid pid);

// All of the manifest that is about the process and this machine, and the time.
void describe(const ProcessFacts& facts, Pid pid, store::Manifest& manifest);

// What --term and --stop ask for. A process that has ended meanwhile is no error.
Status end_or_stop(const ProcessFacts& facts, AfterCheckpoint after);

// "a\0b\0" as a, b.
std::vector<std::string> split_at_nul(const std::string& text);

// The error of reading a file in /proc of somebody else's process.
Error of_somebody_else(Error error);

}  // namespace crs
