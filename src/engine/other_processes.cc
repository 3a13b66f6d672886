// SPDX-License-Identifier: Apache-2.0
#include "engine/other_processes.h"

#include <unistd.h>

namespace crs {

std::string OtherDescriptor::process() const {
  const auto stat = proc.stat();
  return "process " + std::to_string(pid.v) + (stat ? " (" + stat->comm + ")" : std::string());
}

Status see_other_descriptors(const FrozenProcess& target,
                             const std::function<void(const OtherDescriptor&)>& see) {
  CRS_TRY(const auto names, list_directory("/proc"));
  for (const std::string& name : names) {
    const auto number = parse_number(name);
    if (!number) continue;
    const Pid pid(static_cast<pid_t>(*number));
    if (pid == target.pid() || pid.v == getpid()) continue;
    const auto proc = ProcDir::open(pid);
    if (!proc) continue;
    const auto fds = proc->fds();
    if (!fds) continue;
    for (const RemoteFd fd : *fds) {
      const auto link = proc->read_link("fd/" + std::to_string(fd.v));
      if (link) see(OtherDescriptor{pid, fd, *link, *proc});
    }
  }
  return ok();
}

}  // namespace crs
