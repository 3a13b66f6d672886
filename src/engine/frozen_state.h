// SPDX-License-Identifier: Apache-2.0
// What is behind a FrozenProcess: for the files of the engine that stop, ask and release it.
#pragma once

#include <csignal>
#include <map>
#include <vector>

#include "engine/frozen_process.h"
#include "engine/wait_limits.h"

namespace crs {

struct FrozenProcess::State {
  Pid pid;
  NsPid ns_pid;
  OwnedFd pidfd;
  ProcDir proc;
  ProcFields status;
  ProcStat stat;
  std::vector<Vma> vmas;
  std::vector<FrozenThread> threads;
  std::optional<EndedLeader> ended_leader;
  std::map<Tid, Sleep> sleeps;  // threads that were asleep, with a limit, before anything was stopped
  std::chrono::nanoseconds stopped_at{};  // CLOCK_MONOTONIC, just before
  OwnedFd memory;                         // /proc/PID/mem, opened for reading and writing
  std::string locks;                      // /proc/locks
  bool locks_are_old = true;
  std::optional<OtherDescriptors> others;
  SharingProcesses sharing;
  std::map<Tid, ThreadNamespaces> thread_namespaces;
  bool group_stopped = false;
  bool released = false;
  bool locks_future_mappings = false;  // mlockall(MCL_FUTURE), found out by make_remote_calls()
  bool calls_were_unsafe = false;      // see Gadgets in remote_calls.cc

  explicit State(ProcDir directory) : proc(std::move(directory)) {}
  Status write_memory(RemoteAddr to, std::span<const std::byte> data) const;
};

// Whether the thread has ended and is still to be waited for.
bool is_zombie(Tid tid);

// Waits until the thread is in a ptrace-stop and answers its wait status; Errc::target_gone when it ended,
// Errc::timeout (naming state and system call) when the deadline passes. Polls: a wait that also ends at a
// deadline would need a signal, and signals belong to the program we are linked into.
Result<int> wait_for_stop(Tid tid, Deadline deadline);

}  // namespace crs
