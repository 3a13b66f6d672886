// SPDX-License-Identifier: Apache-2.0
// ThreadNamespaces: in which namespaces each thread lives.
//
// What this file knows
//   unshare(2) and setns(2) move the calling thread alone, so threads may differ in their network, host name,
//   IPC objects, mounts, cgroups, and in where their children will live. All live in one user and one pid
//   namespace, and on one clock. Seven links a thread take 40 ms for 1000 threads, so they are read before
//   the target is stopped, and after that of threads that are new. A thread that leaves just in between is
//   not noticed.
//
// Kernel interfaces: proc(5) task/TID/ns, namespaces(7).
#pragma once

#include <array>
#include <map>
#include <string>

#include "os/ids.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

// In /proc/PID/task/TID/ns.
inline constexpr std::array thread_namespace_entries{
    "net", "ipc", "uts", "cgroup", "mnt", "pid_for_children", "time_for_children"};

// Where each entry leads to; empty where there is no such entry, or nobody to answer.
using ThreadNamespaces = std::array<std::string, thread_namespace_entries.size()>;

// Of each thread that is not in `seen` yet.
Status look_at_thread_namespaces(const ProcDir& target, std::map<Tid, ThreadNamespaces>& seen);

}  // namespace crs
