// SPDX-License-Identifier: Apache-2.0
#include "engine/other_processes.h"

#include <unistd.h>

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

Status see_descriptors_but(Pid target, const std::function<void(const OtherDescriptor&)>& see) {
  return see_processes_but(target, [&](Pid pid, const ProcDir& proc) {
    const auto fds = proc.fds();
    if (!fds) return;
    for (const RemoteFd fd : *fds) {
      const auto link = proc.read_link("fd/" + std::to_string(fd.v));
      if (link) see(OtherDescriptor{pid, fd, *link, proc});
    }
  });
}

}  // namespace

std::string OtherDescriptor::process() const {
  return name_of(pid, proc);
}
std::string OtherMapping::process() const {
  return name_of(pid, proc);
}

Status see_other_descriptors(const FrozenProcess& target,
                             const std::function<void(const OtherDescriptor&)>& see) {
  return see_descriptors_but(target.pid(), see);
}

Status see_all_descriptors(const std::function<void(const OtherDescriptor&)>& see) {
  return see_descriptors_but(Pid(0), see);
}

Status see_other_mappings(const FrozenProcess& target, const std::function<void(const OtherMapping&)>& see) {
  return see_processes_but(target.pid(), [&](Pid pid, const ProcDir& proc) {
    const auto vmas = proc.maps();
    if (!vmas) return;
    for (const Vma& vma : *vmas) see(OtherMapping{pid, vma, proc});
  });
}

}  // namespace crs
