// SPDX-License-Identifier: Apache-2.0
#include "engine/other_processes.h"

#include <unistd.h>

#include "engine/frozen_state.h"

namespace crs {

namespace {

std::string name_of(Pid pid, const ProcDir& proc) {
  const auto stat = proc.stat();
  return "process " + std::to_string(pid.v) + (stat ? " (" + stat->comm + ")" : std::string());
}

Status see_processes_but(Pid target, const std::function<void(Pid, const ProcDir&)>& see) {
  CRS_TRY(const auto names, list_directory("/proc"));
  for (const std::string& name : names) {
    const auto number = parse_number(name);
    if (!number) continue;
    const Pid pid(static_cast<pid_t>(*number));
    if (pid == target || pid.v == getpid()) continue;
    if (const auto proc = ProcDir::open(pid)) see(pid, *proc);
  }
  return ok();
}

}  // namespace

std::string OtherDescriptor::process() const {
  const auto proc = ProcDir::open(pid);
  return proc ? name_of(pid, *proc) : "process " + std::to_string(pid.v);
}
std::string OtherMapping::process() const {
  return name_of(pid, proc);
}

Status look_at_other_descriptors(Pid target, OtherDescriptors& seen) {
  return see_processes_but(target, [&](Pid pid, const ProcDir& proc) {
    if (!seen.processes.insert(pid).second) return;
    const auto fds = proc.fds();
    if (!fds) return;
    for (const RemoteFd fd : *fds) {
      auto link = proc.read_link("fd/" + std::to_string(fd.v));
      if (link) seen.all.push_back({pid, fd, std::move(*link)});
    }
  });
}

bool may_share_descriptors(const ProcDir& target) {
  const auto fds = target.fds();
  if (!fds) return false;
  for (const RemoteFd fd : *fds) {
    const auto link = target.read_link("fd/" + std::to_string(fd.v));
    if (!link) continue;
    if (link->starts_with("pipe:") || link->starts_with("anon_inode:") || link->ends_with(" (deleted)"))
      return true;
  }
  return false;
}

Status see_other_descriptors(const FrozenProcess& target,
                             const std::function<void(const OtherDescriptor&)>& see) {
  CRS_TRY(const auto* const others, target.others());
  for (const OtherDescriptor& other : others->all) see(other);
  return ok();
}

Status see_all_descriptors(const std::function<void(const OtherDescriptor&)>& see) {
  OtherDescriptors seen;
  CRS_CHECK(look_at_other_descriptors(Pid(0), seen));
  for (const OtherDescriptor& each : seen.all) see(each);
  return ok();
}

Status see_other_mappings(const FrozenProcess& target, const std::function<void(const OtherMapping&)>& see) {
  return see_processes_but(target.pid(), [&](Pid pid, const ProcDir& proc) {
    const auto vmas = proc.maps();
    if (!vmas) return;
    for (const Vma& vma : *vmas) see(OtherMapping{pid, vma, proc});
  });
}

}  // namespace crs
