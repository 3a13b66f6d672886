// SPDX-License-Identifier: Apache-2.0
// Landlock: whether a thread has locked itself into a Landlock domain, which a restart would open.
//
// What this file knows
//   Nothing in /proc and no system call tells of a domain. But a thread in one may not look into a process
//   outside of it (landlock(7), "Ptrace restrictions"), and kcmp(2) asks for exactly that permission: called
//   inside the target with a process that it could otherwise look into, it answers EPERM. That process, the
//   reference, must have the thread's real uid and gid as all of its ids, no capability that the thread
//   lacks, be dumpable, and live in the thread's user and pid namespaces. Mostly crs itself is such a
//   process; else one is forked, put there, and ended after the questions. Threads with other ids than the
//   leader cannot be asked. Each thread has its own domain.
// What it leaves to others
//   Another security module could refuse the look as well, hence the careful words of the blocker.
//
// Kernel interfaces: landlock(7), kcmp(2), setns(2), close_range(2).   Round trip:
// tests/targets/landlock_*.cc
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "engine/resource_kind.h"

namespace crs {
namespace {

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
constexpr int ask_version = 1;  // LANDLOCK_CREATE_RULESET_VERSION

struct Identity {
  std::vector<std::uint64_t> uids, gids;
  std::uint64_t permitted = 0;
};

Identity parse_identity(const ProcFields& status) {
  return {status.numbers("Uid"), status.numbers("Gid"), status.number("CapPrm", 16).value_or(0)};
}

bool all_equal(const std::vector<std::uint64_t>& ids, std::uint64_t id) {
  return std::ranges::all_of(ids, [id](std::uint64_t other) { return other == id; });
}

// A child of ours that waits to be looked at. It ends when its Reference does, and when we are killed: it
// waits for the end of a socket of which we hold the other side.
class Reference {
 public:
  Reference() = default;
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  ~Reference() { end(); }

  // Starts it in the namespaces (CLONE_NEWUSER, CLONE_NEWPID; 0: ours) of the process behind `pidfd`, and
  // answers its pid there.
  Result<NsPid> start(int pidfd, int namespaces, uid_t uid, gid_t gid) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
      return Error::from_errno(errno, "socketpair");
    }
    ours_ = OwnedFd(ends[0]);
    OwnedFd theirs(ends[1]);
    const pid_t first = fork();
    if (first < 0) return Error::from_errno(errno, "fork");
    if (first == 0) {
      close(ends[0]);
      run(pidfd, namespaces, uid, gid, theirs.get());
    }
    children_.push_back(first);
    theirs.reset();
    return await_place((namespaces & CLONE_NEWPID) != 0 ? 2 : 1);
  }

  void end() {
    ours_.reset();
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {
      }
    }
    children_.clear();
  }

 private:
  struct Message {
    bool in_place = false;  // else: "I made the other child, and this is its pid to you"
    pid_t pid = 0;
  };

  Result<NsPid> await_place(int messages) {
    NsPid place;
    for (int i = 0; i < messages; ++i) {
      Message message;
      const ssize_t length = read(ours_.get(), &message, sizeof message);
      if (length < 0 && errno == EINTR) {
        --i;
      } else if (length != sizeof message) {  // the end: it could not, and is gone
        return Error(Errc::kernel, "the reference process could not take its place");
      } else if (message.in_place) {
        place = NsPid(message.pid);
      } else {
        children_.push_back(message.pid);
      }
    }
    return place;
  }

  // In the child of what may be a process with many threads: system calls only.
  [[noreturn]] static void run(int pidfd, int namespaces, uid_t uid, gid_t gid, int socket) {
    if (namespaces != 0 && setns(pidfd, namespaces) != 0) _exit(1);
    // What we hold open of the process must not seem to be in a third process's hands.
    const auto last = static_cast<unsigned>(socket);
    if (last > 0) syscall(SYS_close_range, 0u, last - 1, 0u);
    syscall(SYS_close_range, last + 1, ~0u, 0u);
    if ((namespaces & CLONE_NEWPID) != 0) {  // a pid namespace takes in only children
      const long child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
      if (child < 0) _exit(1);
      if (child > 0) {
        const Message message{.in_place = false, .pid = static_cast<pid_t>(child)};
        _exit(write(socket, &message, sizeof message) == sizeof message ? 0 : 1);
      }
    }
    const __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2]{};
    if (syscall(SYS_setresgid, gid, gid, gid) != 0 || syscall(SYS_setresuid, uid, uid, uid) != 0 ||
        syscall(SYS_capset, &header, none) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) {
      _exit(1);
    }
    const Message message{.in_place = true, .pid = static_cast<pid_t>(syscall(SYS_getpid))};
    if (write(socket, &message, sizeof message) != sizeof message) _exit(1);
    char end = 0;
    while (read(socket, &end, 1) < 0 && errno == EINTR) {
    }
    _exit(0);
  }

  OwnedFd ours_;
  std::vector<pid_t> children_;
};

class LandlockKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    if (syscall(SYS_landlock_create_ruleset, nullptr, 0, ask_version) < 0)
      return ok();                  // a kernel without it
    std::optional<Identity> asked;  // the leader's ids, and the capabilities that all who are asked have
    for (const FrozenThread& thread : target.threads()) {
      CRS_TRY(const ProcDir task, target.proc().open_task(thread.tid));
      CRS_TRY(const ProcFields status, task.status());
      const Identity identity = parse_identity(status);
      if (identity.uids.empty() || identity.gids.empty())
        return Error(Errc::kernel, "a status without Uid or Gid");
      if (!asked) asked = identity;
      if (identity.uids[0] != asked->uids[0] || identity.gids[0] != asked->gids[0]) continue;
      asked->permitted &= identity.permitted;
      looks_.push_back({thread.ns_tid, {}});
    }
    CRS_TRY(const NsPid reference, find_reference(target, *asked));
    for (Look& look : looks_) {
      look.call = questions.thread(look.thread).try_call(SYS_kcmp, look.thread, reference, KCMP_VM, 0, 0);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    reference_.end();
    for (const Look& look : looks_) {
      if (context.answers.thread(look.thread).result(look.call) != -EPERM) continue;
      context.blockers.add(
          "thread " + to_string(look.thread),
          "it may not look into a process of its own user: it is confined by Landlock (or by another "
          "security module), and would not be after a restart",
          "crs cannot save such programs yet");
    }
    return ok();
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }

 private:
  struct Look {
    NsPid thread;
    CallBatch::CallId call;
  };

  Result<NsPid> find_reference(const FrozenProcess& target, const Identity& asked) {
    CRS_TRY(const ProcDir ours, ProcDir::open(Pid(getpid())));
    CRS_TRY(const ProcFields status, ours.status());
    const Identity self = parse_identity(status);
    CRS_TRY(const bool same_user, same_namespace(target.proc(), ours, "ns/user"));
    CRS_TRY(const bool same_pid, same_namespace(target.proc(), ours, "ns/pid"));
    if (same_user && same_pid && all_equal(self.uids, asked.uids[0]) && all_equal(self.gids, asked.gids[0]) &&
        (self.permitted & ~asked.permitted) == 0 && prctl(PR_GET_DUMPABLE) == 1) {
      return NsPid(getpid());
    }
    const int namespaces = (same_user ? 0 : CLONE_NEWUSER) | (same_pid ? 0 : CLONE_NEWPID);
    return reference_.start(target.pidfd(), namespaces, static_cast<uid_t>(asked.uids[0]),
                            static_cast<gid_t>(asked.gids[0]));
  }

  static Result<bool> same_namespace(const ProcDir& theirs, const ProcDir& ours, const std::string& entry) {
    CRS_TRY(const std::string a, theirs.read_link(entry));
    CRS_TRY(const std::string b, ours.read_link(entry));
    return a == b;
  }

  Reference reference_;
  std::vector<Look> looks_;
};

}  // namespace

extern constinit const KindInfo kind_landlock{
    .section = "landlock", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<LandlockKind>();
    }};

}  // namespace crs
