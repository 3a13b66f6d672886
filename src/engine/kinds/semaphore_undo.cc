// SPDX-License-Identifier: Apache-2.0
// Semaphore undo: what the kernel will do to System V semaphores when the process ends.
//
// What this file knows
//   A process that used SEM_UNDO has a list that nothing prints. kcmp(2) compares whose list two processes
//   share: we have none, so one that "shares" ours has none either. With a list, a checkpoint is refused:
//   ending the process would apply it, and the restored one would have lost it.
//
// Kernel interfaces: kcmp(2), semop(2).   Round trip: tests/targets/semaphore_undo_*.cc
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/resource_kind.h"

namespace crs {
namespace {

class SemaphoreUndoKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    for (const FrozenThread& thread : context.target.threads()) {
      // Negative: a kernel without kcmp(2), which cannot tell.
      if (syscall(SYS_kcmp, getpid(), thread.tid.v, KCMP_SYSVSEM, 0, 0) <= 0) continue;
      context.blockers.add("System V semaphores",
                           "the process used SEM_UNDO, and what would be undone cannot be read",
                           "use the semaphores without SEM_UNDO");
      break;
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
