// SPDX-License-Identifier: Apache-2.0
// Other processes: which of them have something open or mapped that the target has as well.
//
// What this file knows
//   /proc/*/fd can be read of our own processes, by root of all. A process that may not be looked into is
//   passed over: a caller that must be sure has to ask the object itself. Links are read and not followed,
//   because a stat(2) through them may wait for a network file system.
//   The look takes milliseconds and is done before the target is stopped; after that only at processes that
//   are new, such as a grandchild that was made in between. What is not seen is a descriptor that an older
//   process was sent in a message just then.
//
// Kernel interfaces: proc(5) fd, maps and loadavg, kcmp(2).
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "os/ids.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

class FrozenProcess;

struct OtherDescriptor {
  Pid pid;
  RemoteFd fd;
  std::string link;  // readlink of /proc/PID/fd/N, as we see it

  std::string process() const;  // "process 4711 (bash)"
};

struct OtherDescriptors {
  std::set<Pid> processes;  // those looked at
  std::vector<OtherDescriptor> all;
};

// Of each process but the target and ourselves; those already in `seen` are left as they are.
Status look_at_other_descriptors(Pid target, OtherDescriptors& seen);

// Whether the target has anything open that another process might hold as well: else the look can be saved.
bool may_share_descriptors(const ProcDir& target);

// Calls `see` for each of them.
Status see_other_descriptors(const FrozenProcess& target,
                             const std::function<void(const OtherDescriptor&)>& see);
// Without a target.
Status see_all_descriptors(const std::function<void(const OtherDescriptor&)>& see);

// Processes that share memory, descriptor table or working directory with the target without being threads of
// it (clone(2) with CLONE_VM, CLONE_FILES or CLONE_FS). Only the target makes such, so those that are no
// older than a look are found by another. Processes of users that we may not look into are passed over.
struct SharingProcesses {
  std::set<Pid> looked_at;
  std::vector<Pid> found;
  std::string newest;  // the number that the last process got (proc(5), loadavg)
};
Status look_at_sharing_processes(Pid target, Tid living, SharingProcesses& seen);

struct OtherMapping {
  Pid pid;
  const Vma& vma;
  const ProcDir& proc;

  std::string process() const;
};
// The same for each mapping, looked at when it is called.
Status see_other_mappings(const FrozenProcess& target, const std::function<void(const OtherMapping&)>& see);

}  // namespace crs
