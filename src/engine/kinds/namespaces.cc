// SPDX-License-Identifier: Apache-2.0
// Namespaces: which views of the system the process lives in, and whether a restart can give it the same.
//
// What this file knows
//   A restart puts the process into crs's own namespaces, except that without privilege (or when its pid is
//   taken) it makes a pid and a mount namespace, and a user namespace in which one uid and one gid stand for
//   themselves. Such a process must be savable again, so exactly that is accepted: a user namespace below
//   ours with that map, and a pid namespace below ours. Everything else that differs is a blocker by name.
//   Whose namespace is below whose: ioctl_ns(2), NS_GET_PARENT. Mount namespaces have no parents; their
//   tables of mounts are compared, /proc left out. A time namespace is two offsets, which the manifest keeps
//   (clock_view.h). A mount that came to ours later does no harm. The init of
//   a pid namespace cannot be restored as such: number 1 is then the restorer's. Threads of a restored
//   process all live where it does, so one that moved elsewhere is a blocker.
//
// Kernel interfaces: namespaces(7), ioctl_ns(2), proc(5).   Round trip: tests/targets/namespaces_*.cc
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>
#include <sstream>

#include "engine/resource_kind.h"

namespace crs {
namespace {

struct View {
  const char* entry;  // in /proc/PID/ns
  const char* what;
};
constexpr std::array<View, 4> must_be_ours{
    {{"net", "network"}, {"ipc", "IPC objects"}, {"uts", "host name"}, {"cgroup", "cgroups"}}};

Result<std::string> read_namespace(const ProcDir& proc, const std::string& entry) {
  auto text = proc.read_link("ns/" + entry);
  // A kernel without this kind of namespace has one for all.
  if (!text && text.error().code() == Errc::not_found) return std::string();
  return text;
}

// Whether the parent of the namespace is ours. Where that is not for us to know (EPERM), it is not ours.
Result<bool> is_child_of_ours(const ProcDir& theirs, const ProcDir& ours, const std::string& entry) {
  CRS_TRY(const OwnedFd fd, theirs.open_entry("ns/" + entry, O_RDONLY));
  const OwnedFd parent(ioctl(fd.get(), NS_GET_PARENT));
  if (!parent) return false;
  CRS_TRY(const OwnedFd own, ours.open_entry("ns/" + entry, O_RDONLY));
  struct stat a {
  }, b{};
  if (fstat(parent.get(), &a) != 0 || fstat(own.get(), &b) != 0)
    return Error::from_errno(errno, "fstat of a namespace");
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// "inside outside count": one id that stands for itself.
bool maps_one_id_to_itself(std::string_view map) {
  std::istringstream in{std::string(map)};
  std::uint64_t inside = 0, outside = 0, count = 0, more = 0;
  return in >> inside >> outside >> count && inside == outside && count == 1 && !(in >> more);
}

// Mounts as "device root mount-point type source", /proc left out.
Result<std::set<std::string>> read_mounts(const ProcDir& proc) {
  CRS_TRY(const std::string text, proc.read("mountinfo"));
  std::set<std::string> mounts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, point, field, type, source;
    fields >> id >> parent >> device >> root >> point;
    while (fields >> field && field != "-") {
    }
    fields >> type >> source;
    if (type == "proc") continue;
    mounts.insert(device + " " + root + " " + point + " " + type + " " + source);
  }
  return mounts;
}

class NamespacesKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const ProcDir& theirs = context.target.proc();
    CRS_TRY(const ProcDir ours, ProcDir::open(Pid(getpid())));
    for (const View& view : must_be_ours) {
      CRS_TRY(const bool same, same_namespace(theirs, ours, view.entry));
      if (!same) refuse(context, view.entry, std::string("the process has its own view of ") + view.what);
    }
    CRS_CHECK(collect_user(context, theirs, ours));
    CRS_CHECK(collect_pid(context, theirs, ours));
    CRS_CHECK(collect_mounts(context, theirs, ours));
    CRS_CHECK(collect_for_children(context, theirs));
    return collect_threads(context);
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }

 private:
  static void refuse(CollectContext& context, const std::string& name, std::string reason) {
    context.blockers.add(name + " namespace", std::move(reason),
                         "run crs inside of it: nsenter --target " + std::to_string(context.target.pid().v) +
                             " --all crs ...");
  }

  static Result<bool> same_namespace(const ProcDir& theirs, const ProcDir& ours, const std::string& entry) {
    CRS_TRY(const std::string a, read_namespace(theirs, entry));
    CRS_TRY(const std::string b, read_namespace(ours, entry));
    return a == b;
  }

  Status collect_user(CollectContext& context, const ProcDir& theirs, const ProcDir& ours) {
    CRS_TRY(const bool same, same_namespace(theirs, ours, "user"));
    if (same) return ok();
    CRS_TRY(const bool child, is_child_of_ours(theirs, ours, "user"));
    CRS_TRY(const std::string users, theirs.read("uid_map"));
    CRS_TRY(const std::string groups, theirs.read("gid_map"));
    made_by_restart_ = child && maps_one_id_to_itself(users) && maps_one_id_to_itself(groups);
    if (!made_by_restart_) refuse(context, "user", "the process has user ids of its own");
    return ok();
  }

  static Status collect_pid(CollectContext& context, const ProcDir& theirs, const ProcDir& ours) {
    if (context.target.ns_pid() == NsPid(1)) {
      context.blockers.add("pid 1",
                           "the process is the init of its pid namespace, which a restart needs for itself",
                           "start the program below an init (docker run --init)");
      return ok();
    }
    CRS_TRY(const bool same, same_namespace(theirs, ours, "pid"));
    if (same) return ok();
    CRS_TRY(const bool child, is_child_of_ours(theirs, ours, "pid"));
    if (!child)
      refuse(context, "pid", "the process has process ids of its own, more than one level below ours");
    return ok();
  }

  Status collect_mounts(CollectContext& context, const ProcDir& theirs, const ProcDir& ours) const {
    CRS_TRY(const bool same, same_namespace(theirs, ours, "mnt"));
    if (same) return ok();
    CRS_TRY(const auto their_mounts, read_mounts(theirs));
    CRS_TRY(const auto our_mounts, read_mounts(ours));
    for (const std::string& mount : their_mounts) {
      if (our_mounts.contains(mount)) continue;
      // A namespace that a restart made keeps what was mounted then, also when it is unmounted outside.
      if (made_by_restart_) {
        context.blockers.note("after the next restart the process does not see a mount that it sees now: " +
                              mount);
      } else {
        refuse(context, "mnt", "the process sees a mount that crs does not: " + mount);
        break;
      }
    }
    return ok();
  }

  // unshare(2) moves only children into new pid and time namespaces.
  static Status collect_for_children(CollectContext& context, const ProcDir& theirs) {
    for (const std::string entry : {"pid", "time"}) {
      CRS_TRY(const std::string own, read_namespace(theirs, entry));
      CRS_TRY(const std::string children, read_namespace(theirs, entry + "_for_children"));
      // The link is empty (ENOENT) until the first child has made it.
      if (own == children || (children.empty() && own.empty())) continue;
      context.blockers.add(entry + " namespace",
                           "the children of the process will live in another one (unshare(2))",
                           "crs cannot save such programs yet");
    }
    return ok();
  }

  static Status collect_threads(CollectContext& context) {
    const auto threads = context.target.threads();
    if (threads.size() == 1) return ok();
    CRS_TRY(const auto* const all, context.target.thread_namespaces());
    const auto first = all->find(threads.front().tid);
    if (first == all->end()) return ok();  // a kernel without namespaces
    for (const FrozenThread& thread : threads.subspan(1)) {
      const auto own = all->find(thread.tid);
      if (own == all->end()) return Error(Errc::target_gone, to_string(thread.tid) + " ended");
      std::string names;
      for (std::size_t i = 0; i < thread_namespace_entries.size(); ++i) {
        if (own->second[i] == first->second[i]) continue;
        names += (names.empty() ? "" : ", ") + std::string(thread_namespace_entries[i]);
      }
      if (names.empty()) continue;
      context.blockers.add("thread " + to_string(thread.ns_tid),
                           "it lives in other namespaces than the process (unshare(2), setns(2)): " + names,
                           "crs cannot save such programs yet");
    }
    return ok();
  }

  bool made_by_restart_ = false;
};

}  // namespace

extern constinit const KindInfo kind_namespaces{
    .section = "namespaces", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<NamespacesKind>();
    }};

}  // namespace crs
