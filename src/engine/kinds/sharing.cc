// SPDX-License-Identifier: Apache-2.0
// Sharing: threads that do not have all in common, and other processes that have something in common.
//
// What this file knows
//   The threads of a restored process share memory, descriptors, working directory and umask with each other
//   and with nobody else. That is what pthread_create(3) and fork(2) make. clone(2) and unshare(2) can make
//   anything between: a thread with descriptors of its own, which /proc/PID/fd does not tell of, or a process
//   that is no child any more and lives in the same memory. Each is a blocker. kcmp(2) tells.
// What it leaves to others
//   Children (children.cc); finding the other processes, before the stop (other_processes.h); a thread's
//   namespaces (namespaces.cc).
//
// Kernel interfaces: kcmp(2), clone(2), unshare(2).   Round trip: tests/targets/sharing_*.cc
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/resource_kind.h"

namespace crs {
namespace {

struct Part {
  int type;  // kcmp(2)
  const char* of_thread;
  const char* of_process;
};
constexpr Part parts[] = {
    {KCMP_VM, nullptr, "it lives in the memory of the process (clone(2) with CLONE_VM, vfork(2))"},
    {KCMP_FILES, "it has a descriptor table of its own (unshare(2) with CLONE_FILES)",
     "it has the descriptor table of the process (clone(2) with CLONE_FILES)"},
    {KCMP_FS, "it has a working directory and umask of its own (unshare(2) with CLONE_FS)",
     "it has the working directory and umask of the process (clone(2) with CLONE_FS)"}};

// 0: the same. Negative: one is gone, or this kernel has no kcmp(2).
long compare(Tid a, Tid b, int type) {
  return syscall(SYS_kcmp, a.v, b.v, type, 0, 0);
}

class SharingKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const auto threads = context.target.threads();
    for (const FrozenThread& thread : threads.subspan(1)) {
      for (const Part& part : parts) {
        if (part.of_thread == nullptr || compare(threads.front().tid, thread.tid, part.type) <= 0) continue;
        context.blockers.add("thread " + to_string(thread.ns_tid), part.of_thread,
                             "crs cannot save such programs yet");
      }
    }
    CRS_TRY(const auto others, context.target.sharing_processes());
    for (const Pid other : others) {
      const auto proc = ProcDir::open(other);
      const auto stat = proc ? proc->stat() : Result<ProcStat>(proc.error());
      constexpr std::size_t parent_field = 4;
      if (!stat || stat->field(parent_field) == static_cast<std::uint64_t>(context.target.pid().v)) continue;
      for (const Part& part : parts) {
        if (compare(threads.front().tid, Tid(other.v), part.type) != 0) continue;
        context.blockers.add("process " + std::to_string(other.v) + " (" + stat->comm + ")", part.of_process,
                             "wait until it has ended or has called execve(2)");
      }
    }
    return ok();
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }
};

}  // namespace

extern constinit const KindInfo kind_sharing{
    .section = "sharing", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<SharingKind>();
    }};

}  // namespace crs
