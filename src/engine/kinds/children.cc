// SPDX-License-Identifier: Apache-2.0
// Children: processes that the target started and has not yet waited for.
//
// What this file knows
//   Each thread has its own list in /proc/PID/task/TID/children (zombies included). A process with children
//   cannot be saved on its own: wait(2) would fail after a restart where it should have succeeded.
//
// Kernel interfaces: proc(5).   Round trip: tests/targets/children_*.cc
#include <unistd.h>

#include "engine/resource_kind.h"
#include "os/children.h"

namespace crs {
namespace {

class ChildrenKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    for (const FrozenThread& thread : context.target.threads()) {
      CRS_TRY(const ProcDir task, context.target.proc().open_task(thread.tid));
      const auto list = read_children(task);
      if (!list && list.error().code() == Errc::not_found) {
        context.blockers.note(
            "this kernel does not list children (CONFIG_PROC_CHILDREN); if the process has any, they "
            "are not part of the snapshot");
        return ok();
      }
      if (!list) return list.error();
      for (const Pid child : *list) {
        // A program that has itself saved is our parent.
        if (child.v != getpid()) refuse(context, child);
      }
    }
    return ok();
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }

 private:
  static void refuse(CollectContext& context, Pid child) {
    std::string name = "child " + to_string(child);
    bool zombie = false;
    if (const auto proc = ProcDir::open(child); proc) {
      if (const auto stat = proc->stat(); stat) {
        name += " (" + stat->comm + ")";
        zombie = stat->state == 'Z';
      }
    }
    context.blockers.add(name,
                         zombie ? "it has ended and the process has not yet waited for it"
                                : "crs saves single processes and this one has children",
                         zombie ? "let the program wait for it" : "wait until it has ended");
  }
};

}  // namespace

extern constinit const KindInfo kind_children{
    .section = "children", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ChildrenKind>();
    }};

}  // namespace crs
