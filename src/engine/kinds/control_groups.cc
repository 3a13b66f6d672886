// SPDX-License-Identifier: Apache-2.0
// Control groups: whether a restart would lift the process out of a group that it was put into.
//
// What this file knows
//   A restored process belongs to the cgroups of the restart command; who restarts a program chooses its
//   groups. That is right for a batch system's next job or another login. It is wrong where the process is in
//   a group *below* that of crs itself: somebody confined it there (memory, devices, processors), and it
//   would come back in the wider group. Threads of one process may be in different groups (cgroup v1, and
//   threaded ones of v2); those are lost as well. /proc/PID/cgroup has a line "hierarchy:controllers:path"
//   for each hierarchy. Paths are told as our own cgroup namespace sees them, so they can be compared; one
//   that is not below its root starts with "/..".
//   Where the restart is in other groups than the process was, it says so.
// What it leaves to others
//   The cgroup namespace (namespaces.cc).
//
// Kernel interfaces: cgroups(7), proc(5).   Round trip: tests/targets/control_group_*.cc
#include <unistd.h>

#include <map>
#include <sstream>

#include "engine/kinds/control_groups.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

using Groups = std::map<std::string, std::string>;  // controllers ("" is cgroup v2) -> path

Result<Groups> read_groups(const ProcDir& proc) {
  CRS_TRY(const std::string text, proc.read("cgroup"));
  Groups groups;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    groups[line.substr(first + 1, second - first - 1)] = line.substr(second + 1);
  }
  return groups;
}

bool is_below(const std::string& path, const std::string& other) {
  if (path == other || path.starts_with("/..")) return false;
  return other == "/" || path.starts_with(other + "/");
}

std::string name_of(const std::string& controllers, const std::string& path) {
  return "cgroup " + (controllers.empty() ? path : controllers + ":" + path);
}

class ControlGroups : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const FrozenProcess& target = context.target;
    CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
    const auto ours = read_groups(self);
    if (!ours && ours.error().code() == Errc::not_found) return ok();  // a kernel without cgroups
    CRS_CHECK(ours);
    CRS_TRY(const Groups theirs, read_groups(target.proc()));
    state_.Clear();
    for (const auto& [controllers, path] : theirs) {
      auto& saved = *state_.add_groups();
      saved.set_controllers(controllers);
      saved.set_path(path);
    }
    for (const auto& [controllers, path] : theirs) {
      const auto own = ours->find(controllers);
      if (own == ours->end() || !is_below(path, own->second)) continue;
      context.blockers.add(
          name_of(controllers, path),
          "the process is in this group below that of crs (" + own->second + "), and a restart would not be",
          "move crs into the group first: run it from a shell that was written to its cgroup.procs");
    }
    for (const FrozenThread& thread : target.threads()) {
      if (thread.tid == target.living_thread()) continue;
      CRS_TRY(const ProcDir task, target.proc().open_task(thread.tid));
      CRS_TRY(const Groups own, read_groups(task));
      if (own == theirs) continue;
      context.blockers.add(to_string(thread.tid),
                           "it is in other cgroups than the first thread of the process",
                           "such groups cannot be given back yet; put all threads into one group");
      break;
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }
  Status load(std::string_view bytes) override { return from_section(bytes, state_); }

  // The restored process is where the restart is. A hierarchy that only one of the two knows is another
  // machine's.
  Status check(CheckContext& context) override {
    if (state_.groups_size() == 0) return ok();
    CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
    const auto ours = read_groups(self);
    if (!ours) return ok();
    std::string moved;
    for (const auto& saved : state_.groups()) {
      const auto own = ours->find(saved.controllers());
      if (own == ours->end() || own->second == saved.path()) continue;
      moved +=
          (moved.empty() ? "" : ", ") + name_of(saved.controllers(), saved.path()) + " is now " + own->second;
    }
    if (!moved.empty())
      context.blockers.note("the program is in the control groups of this restart: " + moved);
    return ok();
  }

 private:
  state::ControlGroups state_;
};

}  // namespace

extern constinit const KindInfo kind_control_groups{
    .section = "control_groups", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ControlGroups>();
    }};

}  // namespace crs
