// SPDX-License-Identifier: Apache-2.0
// Confinement: what others, or the program itself, have locked it into, and which crs cannot rebuild yet.
//
// What this file knows
//   A restart must never open a sandbox. Shadow stacks, segments of the program's own, I/O port permissions
//   and core scheduling cookies are found here, and each is a blocker. Segments lie in the local descriptor
//   table, or in three entries of the global one that each thread has for itself. Seccomp filters and system
//   call dispatch are found before anything is called inside the target, since they would answer those calls.
//   The label of a security module is given by who starts a process, so it must be the same for the process,
//   for crs now and for crs at the restart. iopl(2) cannot be seen (root's own affair).
// What it leaves to others
//   Switches of prctl(2) that can be set again (hardening.cc), capabilities (credentials.cc),
//   Landlock (landlock.cc).
//
// Kernel interfaces: proc(5), ptrace(2), modify_ldt(2), set_thread_area(2), prctl(2).   Round trip:
// tests/targets/confinement_*.cc
#include <asm/ldt.h>
#include <elf.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "engine/kinds/confinement.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif
#ifndef NT_386_IOPERM
#define NT_386_IOPERM 0x201
#endif
#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_GET 0
#endif

struct DispatchConfig {
  std::uint64_t mode = 0;  // 0: off
  std::uint64_t selector = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

constexpr std::size_t ldt_entry_size = 8;  // bytes

// An entry that nobody set reads as an empty segment that is not present.
bool has_own_segment(Tid thread) {
  constexpr std::array<std::uintptr_t, 3> entries{12, 13, 14};  // GDT_ENTRY_TLS_MIN on; asm/segment.h
  return std::ranges::any_of(entries, [thread](std::uintptr_t entry) {
    user_desc segment{};
    return ptrace(PTRACE_GET_THREAD_AREA, thread.v, entry, &segment) == 0 &&
           (segment.seg_not_present == 0 || segment.base_addr != 0 || segment.limit != 0);
  });
}

// What a security module calls the process; empty where none does (EINVAL, ENOENT).
std::string read_label(const ProcDir& proc) {
  auto label = proc.read("attr/current");
  if (!label) return {};
  while (label->ends_with('\n') || label->ends_with('\0')) label->pop_back();
  return *label;
}

class ConfinementKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    for (const FrozenThread& thread : target.threads()) CRS_CHECK(refuse_filtered_calls(target, thread));
    CallBatch& leader = questions.leader();
    ldt_ = leader.try_call(SYS_modify_ldt, 0, leader.out(ldt_entry_size), ldt_entry_size);
    for (const FrozenThread& thread : target.threads()) {
      CallBatch& batch = questions.thread(thread.ns_tid);
      cookies_.push_back(batch.out(sizeof(std::uint64_t)));
      batch.try_call(SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0 /* one thread */, cookies_.back());
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    if (context.answers.leader().result(ldt_) > 0) {
      context.blockers.add("local descriptor table",
                           "the program made segments of its own with modify_ldt(2)",
                           "crs cannot save such programs yet");
    }
    const auto threads = context.target.threads();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      CRS_CHECK(collect_thread(context, threads[i]));
      if (context.answers.thread(threads[i].ns_tid).value<std::uint64_t>(cookies_[i]) != 0) {
        context.blockers.add("thread " + to_string(threads[i].ns_tid), "it has a core scheduling cookie",
                             "crs cannot save such programs yet");
      }
    }
    CRS_TRY(const ProcDir ours, ProcDir::open(Pid(getpid())));
    state_.set_security_label(read_label(context.target.proc()));
    if (const std::string own = read_label(ours); own != state_.security_label()) {
      context.blockers.add("security label " + state_.security_label(),
                           "crs runs as " + own + " and a restarted process would, too",
                           "run crs under the same label");
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override { return from_section(bytes, state_); }

  Status check(CheckContext& context) override {
    CRS_TRY(const ProcDir ours, ProcDir::open(Pid(getpid())));
    const std::string own = read_label(ours);
    if (own == state_.security_label()) return ok();
    const auto name = [](const std::string& label) { return label.empty() ? std::string("none") : label; };
    context.blockers.add("security label " + name(state_.security_label()),
                         "the process had this label; here it would have " + name(own),
                         "restart under the same label");
    return ok();
  }

  nlohmann::json describe() const override { return {{"security_label", state_.security_label()}}; }

 private:
  // What would answer the calls that a checkpoint makes inside the target, perhaps by ending it. So this is
  // said before any is made, and not as one blocker among many.
  static Status refuse_filtered_calls(const FrozenProcess& target, const FrozenThread& thread) {
    const std::string name = "thread " + to_string(thread.ns_tid);
    CRS_TRY(const ProcDir task, target.proc().open_task(thread.tid));
    CRS_TRY(const ProcFields status, task.status());
    if (status.number("Seccomp").value_or(0) != 0) {
      return Error(Errc::refused, name + " is confined by seccomp, and could do more without its filter")
          .with_hint("crs cannot save such programs yet");
    }
    DispatchConfig dispatch;  // EIO before Linux 6.4, where it cannot be seen
    if (ptrace(static_cast<__ptrace_request>(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG), thread.tid.v,
               sizeof dispatch, &dispatch) == 0 &&
        dispatch.mode != 0) {
      return Error(Errc::refused,
                   name + " dispatches its system calls to itself (PR_SET_SYSCALL_USER_DISPATCH)")
          .with_hint("crs cannot save such programs yet");
    }
    return ok();
  }

  static Status collect_thread(CollectContext& context, const FrozenThread& thread) {
    const std::string name = "thread " + to_string(thread.ns_tid);
    CRS_TRY(const ProcDir task, context.target.proc().open_task(thread.tid));
    CRS_TRY(const ProcFields status, task.status());
    const auto features = status.find("x86_Thread_features");
    if (features && features->find("shstk") != std::string_view::npos) {
      context.blockers.add(name, "it runs with a shadow stack",
                           "start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
    }
    if (has_own_segment(thread.tid)) {
      context.blockers.add(name, "it made segments of its own with set_thread_area(2)",
                           "crs cannot save such programs yet");
    }
    std::array<std::byte, 8192> ports{};
    iovec area{ports.data(), ports.size()};
    if (ptrace(PTRACE_GETREGSET, thread.tid.v, NT_386_IOPERM, &area) == 0 && area.iov_len > 0) {
      context.blockers.add(name, "it may use I/O ports (ioperm(2))", "crs cannot save such programs yet");
    }
    return ok();
  }

  CallBatch::CallId ldt_;
  std::vector<CallBatch::Buffer> cookies_;
  state::Confinement state_;
};

}  // namespace

extern constinit const KindInfo kind_confinement{
    .section = "confinement", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ConfinementKind>();
    }};

}  // namespace crs
