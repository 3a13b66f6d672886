// SPDX-License-Identifier: Apache-2.0
#include "engine/stuck_threads.h"

#include <chrono>
#include <optional>
#include <sstream>
#include <thread>

namespace crs {
namespace {

// Where control groups are mounted, by all that distributions do.
constexpr std::string_view v1_freezer = "/sys/fs/cgroup/freezer";
constexpr std::string_view v2_mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

// The group that freezes the process, or one above it.
std::optional<std::string> frozen_group(const ProcDir& proc) {
  const auto text = proc.read("cgroup");
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers.find(",freezer,") != std::string::npos) {
      const auto state = read_file(std::string(v1_freezer) + path + "/freezer.state");
      if (state && !state->starts_with("THAWED")) return path;
    }
    if (controllers != ",,") continue;
    for (const std::string_view mount : v2_mounts) {
      const auto events = read_file(std::string(mount) + path + "/cgroup.events");
      if (events && events->find("frozen 1") != std::string::npos) return path;
    }
  }
  return std::nullopt;
}

// How often the thread was switched, if it is in an uninterruptible wait.
std::optional<std::uint64_t> switches_in_wait(const ProcDir& task) {
  const auto status = task.status();
  if (!status || !status->find("State").value_or("").starts_with("D")) return std::nullopt;
  return status->number("voluntary_ctxt_switches").value_or(0) +
         status->number("nonvoluntary_ctxt_switches").value_or(0);
}

}  // namespace

Error does_not_stop(Tid tid) {
  std::string name = "?", where;
  if (const auto proc = ProcDir::open(Pid(tid.v))) {
    const auto stat = proc->stat();
    const auto call = proc->read("wchan");
    if (stat) {
      name = stat->comm;
      where = std::string(", in state ") + stat->state;
    }
    if (call && !call->empty() && *call != "0") where += ", waiting in " + *call;
  }
  return Error(Errc::timeout, to_string(tid) + " (" + name + ") does not stop" + where)
      .with_hint("give a longer --timeout, or try again when it is no longer waiting");
}

Status await_stoppable(Pid pid, const ProcDir& proc, Deadline deadline) {
  if (const auto group = frozen_group(proc)) {
    return Error(Errc::refused, to_string(pid) + " is frozen, by its control group " + *group)
        .with_hint("thaw the group first: write 0 to its cgroup.freeze, or THAWED to its freezer.state");
  }
  CRS_TRY(const auto tids, proc.tasks());
  for (const Tid tid : tids) {
    const auto task = proc.open_task(tid);
    if (!task) continue;
    const auto before = switches_in_wait(*task);
    while (before && switches_in_wait(*task) == before) {
      if (deadline.passed()) return does_not_stop(tid);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  return ok();
}

}  // namespace crs
