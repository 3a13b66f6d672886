// SPDX-License-Identifier: Apache-2.0
// Semaphore undo: what the kernel will do to System V semaphores when the process ends.
//
// What this file knows
//   semop(2) with SEM_UNDO leaves adjustments in a list that nothing prints; ending the process would apply
//   them, and the restored one would have lost them. kcmp(2) compares whose list two processes share: we have
//   none, so one that "shares" ours has none either. Every process that ever had threads has a list, mostly
//   an empty one, so a list alone means little: it is a blocker when the process was also the last to operate
//   on some semaphore. An adjustment that it made before somebody else's later operation cannot be seen.
//
// Kernel interfaces: kcmp(2), semctl(2), proc(5) sysvipc/sem.   Round trip: tests/targets/semaphore_undo_*.cc
#include <linux/kcmp.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <sstream>

#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr int most_semaphores = 32000;  // SEMMSL: in one set

// Negative: a kernel without kcmp(2), which cannot tell.
bool has_undo_list(Tid pid) {
  return syscall(SYS_kcmp, getpid(), pid.v, KCMP_SYSVSEM, 0, 0) > 0;
}

// A set of semaphores on one of which `pid` made the last operation. Sets that we may not read cannot be
// asked.
std::optional<int> find_set_last_used_by(Pid pid) {
  const auto text = read_file("/proc/sysvipc/sem");
  if (!text) return std::nullopt;  // a kernel without System V IPC
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);  // headings
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    long key = 0;
    int id = 0, permissions = 0, count = 0;
    if (!(fields >> key >> id >> permissions >> count) || count > most_semaphores) continue;
    for (int i = 0; i < count; ++i) {
      if (semctl(id, i, GETPID) == pid.v) return id;
    }
  }
  return std::nullopt;
}

class SemaphoreUndoKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const Pid pid = context.target.pid();
    if (!has_undo_list(context.target.living_thread())) return ok();
    if (const auto set = find_set_last_used_by(pid); set) {
      context.blockers.add("System V semaphore set " + std::to_string(*set),
                           "the process uses it, and what SEM_UNDO would undo at its end cannot be read",
                           "use the semaphores without SEM_UNDO, or POSIX semaphores");
    }
    return ok();
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }
};

}  // namespace

extern constinit const KindInfo kind_semaphore_undo{
    .section = "semaphore_undo", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<SemaphoreUndoKind>();
    }};

}  // namespace crs
