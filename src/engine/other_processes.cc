// SPDX-License-Identifier: Apache-2.0
#include "engine/other_processes.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "engine/frozen_state.h"

namespace crs {

namespace {

std::string name_of(Pid pid, const ProcDir& proc) {
  const auto stat = proc.stat();
  return "process " + std::to_string(pid.v) + (stat ? " (" + stat->comm + ")" : std::string());
}

Status see_numbers_but(Pid target, const std::function<void(Pid)>& see) {
  CRS_TRY(const auto names, list_directory("/proc"));
  for (const std::string& name : names) {
    const auto number = parse_number(name);
    if (!number) continue;
    const Pid pid(static_cast<pid_t>(*number));
    if (pid != target && pid.v != getpid()) see(pid);
  }
  return ok();
}

Status see_processes_but(Pid target, const std::function<void(Pid, const ProcDir&)>& see) {
  return see_numbers_but(target, [&](Pid pid) {
    if (const auto proc = ProcDir::open(pid)) see(pid, *proc);
  });
}

// Another text after each process or thread that anybody made, in this pid namespace or below; "" if unknown.
std::string newest_process() {
  const auto text = read_file("/proc/loadavg");
  return text ? text->substr(text->rfind(' ') + 1) : std::string();
}

bool shares_something(Tid a, Tid b) {
  constexpr std::array types{KCMP_VM, KCMP_FILES, KCMP_FS};
  return std::ranges::any_of(types, [&](int type) { return syscall(SYS_kcmp, a.v, b.v, type, 0, 0) == 0; });
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

Status look_at_sharing_processes(Pid target, Tid living, SharingProcesses& seen) {
  std::string newest = newest_process();
  if (!newest.empty() && newest == seen.newest) return ok();
  seen.newest = std::move(newest);
  return see_numbers_but(target, [&](Pid pid) {
    if (seen.looked_at.insert(pid).second && shares_something(living, Tid(pid.v))) seen.found.push_back(pid);
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
