// SPDX-License-Identifier: Apache-2.0
#include "engine/frozen_process.h"

#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <limits>
#include <thread>

#include "engine/dead_register.h"
#include "engine/frozen_state.h"
#include "engine/interrupted_calls.h"
#include "engine/rseq_registration.h"
#include "engine/shortened_waits.h"
#include "engine/stuck_threads.h"
#include "engine/wait_limits.h"
#include "engine/wait_notes.h"

namespace crs {
namespace {

constexpr unsigned long kernel_thread_flag = 0x00200000;  // PF_KTHREAD in field 9 of stat
constexpr std::uint64_t code_segment_32bit = 0x23;
constexpr auto patience = std::chrono::seconds(30);  // for threads that do not stop, when no limit was given

std::string command_of(Pid pid) {
  const auto proc = ProcDir::open(pid);
  if (!proc) return "?";
  const auto stat = proc->stat();
  return stat ? stat->comm : "?";
}

Error traced_by(Pid pid, Pid tracer) {
  const std::string name = command_of(tracer);
  if (name == "crs") {
    return Error(Errc::busy,
                 to_string(pid) + " is being checkpointed by another crs (" + to_string(tracer) + ")")
        .with_hint("wait for it to end and try again");
  }
  return Error(Errc::busy, to_string(pid) + " is traced by " + name + " (" + to_string(tracer) + ")")
      .with_hint("a process has one tracer at a time: let " + name + " detach first");
}

Result<std::optional<Pid>> tracer_of(const ProcDir& proc) {
  CRS_TRY(const ProcFields status, proc.status());
  const auto tracer = status.number("TracerPid").value_or(0);
  if (tracer == 0) return std::optional<Pid>();
  return std::optional<Pid>(Pid(static_cast<pid_t>(tracer)));
}

Error not_permitted(Pid pid, const ProcFields& status) {
  const auto owner = status.numbers("Uid");
  Error error(Errc::permission, "may not look into " + to_string(pid));
  error.set_errno(EPERM);
  if (!owner.empty() && geteuid() != 0 && owner[0] != geteuid()) {
    error.set_hint("it belongs to user " + std::to_string(owner[0]) + ": run crs as that user or as root");
    return error;
  }
  const auto scope = read_file("/proc/sys/kernel/yama/ptrace_scope");
  if (scope && !scope->empty() && (*scope)[0] != '0') {
    error.set_hint("kernel.yama.ptrace_scope is " + scope->substr(0, 1) +
                   ": set it to 0 (sysctl) or run crs as root");
  } else {
    error.set_hint(
        "the program may have changed its user or forbidden it (PR_SET_DUMPABLE): run crs as root");
  }
  return error;
}

Status check_is_ordinary(Pid pid, const ProcStat& stat) {
  if ((stat.field(9) & kernel_thread_flag) != 0) {
    return Error(Errc::refused, to_string(pid) + " (" + stat.comm + ") is a kernel thread")
        .with_hint("only user programs can be saved");
  }
  if (stat.state == 'Z' || stat.state == 'X') {
    return Error(Errc::refused,
                 to_string(pid) + " (" + stat.comm + ") has ended; only its exit status is left")
        .with_hint("it is a zombie until its parent waits for it; there is nothing to save");
  }
  return ok();
}

// Whether a thread other than the leader lives.
bool others_live(const ProcDir& proc, Pid pid) {
  const auto tids = proc.tasks();
  return tids && std::ranges::any_of(*tids, [&](Tid tid) {
           if (tid.v == pid.v) return false;
           const auto task = proc.open_task(tid);
           const auto stat = task ? task->stat() : Result<ProcStat>(task.error());
           return stat && stat->state != 'Z' && stat->state != 'X';
         });
}

// A thread inside an rseq critical section is sent to its abort handler, as the kernel does on preemption:
// with its registers elsewhere for a while, the kernel would forget that it was in one (rseq(2)).
Status leave_critical_section(FrozenThread& thread, int memory) {
  struct {
    std::uint32_t version, flags;
    std::uint64_t start, length, abort;
  } section{};
  constexpr std::uint64_t rseq_cs_offset = 8;  // struct rseq, include/uapi/linux/rseq.h
  const auto rseq = read_rseq_registration(thread.tid);
  if (!rseq || rseq->address == 0) return ok();
  std::uint64_t pointer = 0;
  const auto peek = [memory](std::uint64_t from, auto& into) {
    return pread(memory, &into, sizeof into, static_cast<off_t>(from)) == static_cast<ssize_t>(sizeof into);
  };
  if (!peek(rseq->address + rseq_cs_offset, pointer) || pointer == 0 || !peek(pointer, section)) return ok();
  if (thread.registers.rip - section.start >= section.length) return ok();
  thread.registers.rip = section.abort;
  thread.registers.orig_rax = ~std::uint64_t{0};
  if (ptrace(PTRACE_SETREGS, thread.tid.v, nullptr, &thread.registers) != 0) {
    return Error::from_errno(errno, "set registers of " + to_string(thread.tid), Errc::target_gone);
  }
  return ok();
}

Status read_registers(FrozenThread& thread, int memory) {
  if (ptrace(PTRACE_GETREGS, thread.tid.v, nullptr, &thread.registers) != 0) {
    return Error::from_errno(errno, "read registers of " + to_string(thread.tid), Errc::target_gone);
  }
  if (ptrace(PTRACE_GETSIGMASK, thread.tid.v, sizeof thread.signal_mask, &thread.signal_mask) != 0) {
    return Error::from_errno(errno, "read the signal mask of " + to_string(thread.tid), Errc::target_gone);
  }
  thread.xstate.resize(16384);
  iovec area{thread.xstate.data(), thread.xstate.size()};
  if (ptrace(PTRACE_GETREGSET, thread.tid.v, NT_X86_XSTATE, &area) != 0) {
    return Error::from_errno(errno, "read vector registers of " + to_string(thread.tid), Errc::target_gone);
  }
  thread.xstate.resize(area.iov_len);
  CRS_CHECK(leave_critical_section(thread, memory));
  return ok();
}

// There is no restart block for the rest of a call that answered EINTR: where the limit is in r10 (epoll_wait
// and its like) and nobody looks at r10 afterwards, the rest takes its place.
void put_rest_into_register(FrozenThread& thread, const MemoryReader& read) {
  const auto limit = find_limit(thread.registers.orig_rax, thread.registers, read);
  if (!limit || &argument_of(thread.registers, limit->argument) != &thread.registers.r10) return;
  if (!thread.limit_left || *thread.limit_left >= limit->whole) return;
  const std::uint64_t left = whole_milliseconds(*thread.limit_left);
  if (left > static_cast<std::uint64_t>(std::numeric_limits<int>::max())) return;
  if (!argument_is_dead_at(limit->argument, RemoteAddr(thread.registers.rip), read)) return;
  // The same call, but for the address of a limit in nanoseconds.
  if (thread.registers.orig_rax == SYS_epoll_pwait2) thread.registers.orig_rax = SYS_epoll_pwait;
  thread.registers.r10 = left;
}

// A wait that the kernel goes on with from a restart block: which one it is, and what is left of its limit.
// The thread keeps its registers: for the kernel one number is as good as the other.
void look_at_wait(FrozenThread& thread, const std::optional<Sleep>& sleep, Nanoseconds stopped_at,
                  const ProcDir& task, const MemoryReader& read) {
  std::optional<WaitNote> note;
  if (is_restarted(thread.registers)) {
    note = find_note(thread.tid, task);
    auto call = note
                    ? std::optional(note->call)
                    : find_restarted_call(thread.registers, sleep ? sleep->where : Sleeping::elsewhere, read);
    if (!call) return;
    thread.registers.orig_rax = *call;
  }
  const auto limit = find_limit(thread.registers.orig_rax, thread.registers, read);
  if (!limit) return;
  thread.limit_left = left_of(*limit, sleep, stopped_at);
  if (limit->rest || !limit->passes) return;
  if (note && note->ends)
    thread.limit_left = std::clamp(*note->ends - stopped_at, Nanoseconds(0), *thread.limit_left);
  thread.wait_ends = stopped_at + *thread.limit_left;
}

// A call that begins anew: what is left of its limit. One that an earlier checkpoint shortened gets its own
// back.
void look_at_call_made_anew(FrozenThread& thread, const std::optional<Sleep>& sleep, Nanoseconds stopped_at,
                            const MemoryReader& read) {
  const auto limit = find_limit(thread.registers.orig_rax, thread.registers, read);
  if (!limit) return;
  thread.limit_left = left_of(*limit, sleep, stopped_at);
  const auto own = find_own_limit(thread.registers, read);
  if (own) argument_of(thread.registers, limit->argument) = *own;
  if (thread.registers.orig_rax == SYS_rt_sigtimedwait && (own || *thread.limit_left < limit->whole))
    thread.shortened = thread.limit_left;
}

// Of a thread that was stopped inside a call: finds out what is left of its time limit.
Status look_at_call(FrozenThread& thread, std::optional<Sleep> sleep, Nanoseconds stopped_at,
                    const ProcDir& proc, const MemoryReader& read) {
  if (!thread.eintr_taken_back && !needs_restart_block(thread.registers)) return ok();
  CRS_TRY(const ProcDir task, proc.open_task(thread.tid));
  if (sleep && !slept_until_the_stop(*sleep, task)) sleep.reset();
  if (!thread.eintr_taken_back) {
    look_at_wait(thread, sleep, stopped_at, task, read);
    return ok();
  }
  look_at_call_made_anew(thread, sleep, stopped_at, read);
  put_rest_into_register(thread, read);
  if (ptrace(PTRACE_SETREGS, thread.tid.v, nullptr, &thread.registers) != 0) {
    return Error::from_errno(errno, "set registers of " + to_string(thread.tid), Errc::target_gone);
  }
  return ok();
}

// For the next checkpoint, of a wait that the kernel itself goes on with.
void leave_note_of(const FrozenThread& thread, const ProcDir& proc) {
  if (!needs_restart_block(thread.registers) || is_restarted(thread.registers)) return;
  if (const auto task = proc.open_task(thread.tid))
    leave_note(thread.tid, *task, {thread.registers.orig_rax, thread.wait_ends});
}

Result<NsPid> ns_id(const ProcFields& status) {
  const auto ids = status.numbers("NSpid");
  if (ids.empty()) return Error(Errc::unsupported, "this kernel's /proc does not tell NSpid");
  return NsPid(static_cast<pid_t>(ids.back()));
}

}  // namespace

bool is_zombie(Tid tid) {
  const auto proc = ProcDir::open(Pid(tid.v));
  const auto task = proc ? proc->open_task(tid) : Result<ProcDir>(proc.error());
  const auto stat = task ? task->stat() : Result<ProcStat>(task.error());
  return stat && stat->state == 'Z';
}

Result<int> wait_for_stop(Tid tid, Deadline deadline) {
  using namespace std::chrono;
  const auto start = steady_clock::now();
  for (;;) {
    int status = 0;
    const pid_t got = waitpid(tid.v, &status, __WALL | WNOHANG);
    if (got == tid.v) {
      if (WIFSTOPPED(status)) return status;
      return Error(Errc::target_gone, to_string(tid) + " ended");
    }
    if (got < 0 && errno != EINTR) return Error(Errc::target_gone, to_string(tid) + " ended");
    const auto waited = steady_clock::now() - start;
    if (waited < milliseconds(3)) {
      sched_yield();
      continue;
    }
    // A leader that ended before its threads is not reported until they have ended, too.
    if (is_zombie(tid)) return Error(Errc::target_gone, to_string(tid) + " ended");
    if (deadline.passed()) return does_not_stop(tid);
    std::this_thread::sleep_for(waited < milliseconds(50) ? microseconds(200) : milliseconds(2));
  }
}

Status FrozenProcess::State::write_memory(RemoteAddr to, std::span<const std::byte> data) const {
  auto written = pwrite_all(memory.get(), data, to.v, "memory of " + to_string(pid));
  if (!written && written.error().code() == Errc::storage) written.error().set_code(Errc::kernel);
  return written;
}

namespace {

// Seizes one thread and asks it to stop. false: it was gone already.
Result<bool> seize(Pid pid, Tid tid, const ProcDir& proc, const ProcFields& status) {
  if (ptrace(PTRACE_SEIZE, tid.v, nullptr, PTRACE_O_TRACESYSGOOD) != 0) {
    const int error_number = errno;
    if (error_number == ESRCH) return false;
    CRS_TRY(const auto tracer, tracer_of(proc));
    if (tracer && tracer->v != getpid()) return traced_by(pid, *tracer);
    if (const auto task = proc.open_task(tid)) {
      const auto stat = task->stat();
      if (!stat || stat->state == 'X' || stat->state == 'Z') return false;
    } else {
      return false;
    }
    if (error_number == EPERM || error_number == EACCES) return not_permitted(pid, status);
    return Error::from_errno(error_number, "seize " + to_string(tid));
  }
  if (ptrace(PTRACE_INTERRUPT, tid.v, nullptr, nullptr) != 0 && errno != ESRCH) {
    return Error::from_errno(errno, "interrupt " + to_string(tid));
  }
  return true;
}

// Waits for the stop that PTRACE_INTERRUPT asked for. A signal that was being delivered just then is handed
// back first, and the stop follows (ptrace(2), "Signal injection and suppression").
Result<bool> await_interrupt(Tid tid, Deadline deadline) {
  for (;;) {
    CRS_TRY(const int status, wait_for_stop(tid, deadline));
    if (status >> 16 == PTRACE_EVENT_STOP) return WSTOPSIG(status) != SIGTRAP;  // true: group stop
    const int signal = status >> 16 == 0 && WSTOPSIG(status) != (SIGTRAP | 0x80) ? WSTOPSIG(status) : 0;
    if (ptrace(PTRACE_CONT, tid.v, nullptr, signal) != 0)
      return Error(Errc::target_gone, to_string(tid) + " ended");
  }
}

// An EINTR that only we caused is taken back, at once, so that the program does not see it even if we are
// killed. Where a signal waits to be delivered the kernel makes it EINTR again.
bool take_back_eintr_of(Tid tid) {
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, tid.v, nullptr, &registers) != 0 || !has_unearned_eintr(registers)) return false;
  take_back_eintr(registers);
  return ptrace(PTRACE_SETREGS, tid.v, nullptr, &registers) == 0;
}

}  // namespace

Result<const std::string*> FrozenProcess::file_locks() const {
  State& state = *state_;
  const bool may_be_ours = state.locks.find(" " + std::to_string(state.pid.v) + " ") != std::string::npos ||
                           state.locks.find("OFDLCK") != std::string::npos;  // these name no owner
  if (state.locks_are_old && may_be_ours) {
    CRS_TRY(state.locks, read_file("/proc/locks"));
    state.locks_are_old = false;
  }
  return &state.locks;
}

Result<const OtherDescriptors*> FrozenProcess::others() const {
  if (!state_->others) {
    OtherDescriptors seen;
    CRS_CHECK(look_at_other_descriptors(state_->pid, seen));
    state_->others = std::move(seen);
  }
  return &*state_->others;
}

// What was found while they ran, and those that are younger.
Result<std::span<const Pid>> FrozenProcess::sharing_processes() const {
  CRS_CHECK(look_at_sharing_processes(state_->pid, living_thread(), state_->sharing));
  return std::span<const Pid>(state_->sharing.found);
}

// Where they lived while they ran, and of those that are younger.
Result<const std::map<Tid, ThreadNamespaces>*> FrozenProcess::thread_namespaces() const {
  CRS_CHECK(look_at_thread_namespaces(state_->proc, state_->thread_namespaces));
  return &state_->thread_namespaces;
}

// A thread that was stopped in a restarted wait of which nobody knows which call it is (interrupted_calls.h)
// was about to leave it, or to fall asleep in it, where the kernel tells. So it is let go, and caught again.
Result<FrozenProcess> FrozenProcess::freeze(Pid pid, Deadline deadline) {
  for (auto pause = std::chrono::milliseconds(2);; pause *= 2) {
    CRS_TRY(FrozenProcess process, freeze_once(pid, deadline));
    const bool known = std::ranges::none_of(
        process.threads(), [](const FrozenThread& thread) { return is_restarted(thread.registers); });
    if (known || pause > std::chrono::milliseconds(20) || deadline.passed()) return process;
    process.release();
    std::this_thread::sleep_for(pause);
  }
}

Result<FrozenProcess> FrozenProcess::freeze_once(Pid pid, Deadline deadline) {
  if (pid.v == getpid()) {
    return Error(Errc::refused, "crs cannot stop itself to look at itself")
        .with_hint("give the pid of another process");
  }
  CRS_TRY(ProcDir proc, ProcDir::open(pid));
  auto state = std::make_unique<State>(std::move(proc));
  state->pid = pid;
  CRS_TRY(ProcFields before, state->proc.status());
  CRS_TRY(ProcStat stat, state->proc.stat());
  if (!others_live(state->proc, pid)) CRS_CHECK(check_is_ordinary(pid, stat));
  if (before.number("Tgid") != static_cast<std::uint64_t>(pid.v)) {
    return Error(Errc::not_found, std::to_string(pid.v) + " is a thread of process " +
                                      std::to_string(before.number("Tgid").value_or(0)))
        .with_hint("give the pid of the process");
  }
  CRS_TRY(const auto tracer, tracer_of(state->proc));
  if (tracer) return traced_by(pid, *tracer);
  state->pidfd = OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, pid.v, 0)));
  if (!state->pidfd) return Error::from_errno(errno, "pidfd_open " + to_string(pid), Errc::target_gone);

  FrozenProcess process(std::move(state));
  State& frozen = *process.state_;
  if (auto locks = read_file("/proc/locks")) frozen.locks = std::move(*locks);
  if (may_share_descriptors(frozen.proc)) CRS_CHECK(process.others());
  CRS_CHECK(look_at_thread_namespaces(frozen.proc, frozen.thread_namespaces));
  if (!is_zombie(Tid(pid.v))) CRS_CHECK(look_at_sharing_processes(pid, Tid(pid.v), frozen.sharing));
  const Deadline limit = deadline.or_after(patience);
  CRS_CHECK(await_stoppable(pid, frozen.proc, limit));
  CRS_CHECK(process.look_at_sleeps());
  for (bool found_new = true; found_new;) {
    found_new = false;
    std::vector<Tid> fresh;
    CRS_TRY(const auto tids, frozen.proc.tasks());
    for (const Tid tid : tids) {
      if (std::ranges::any_of(frozen.threads, [tid](const FrozenThread& known) { return known.tid == tid; }))
        continue;
      CRS_TRY(const bool seized, seize(pid, tid, frozen.proc, before));
      if (!seized) continue;
      FrozenThread thread;
      thread.tid = tid;
      frozen.threads.push_back(std::move(thread));
      fresh.push_back(tid);
    }
    for (const Tid tid : fresh) {
      found_new = true;
      auto stopped = await_interrupt(tid, limit);
      if (stopped) {
        frozen.group_stopped = frozen.group_stopped || *stopped;
        const auto thread = std::ranges::find(frozen.threads, tid, &FrozenThread::tid);
        thread->eintr_taken_back = take_back_eintr_of(tid);
      } else if (stopped.error().code() == Errc::target_gone &&
                 (tid.v != pid.v || others_live(frozen.proc, pid))) {
        std::erase_if(frozen.threads, [tid](const FrozenThread& thread) { return thread.tid == tid; });
      } else {
        return std::move(stopped).error();
      }
    }
  }
  if (frozen.threads.empty()) return Error(Errc::target_gone, to_string(pid) + " ended");
  // Now nobody new can come by the target's help: those that came since the first look.
  if (frozen.others) CRS_CHECK(look_at_other_descriptors(pid, *frozen.others));
  CRS_CHECK(process.look());
  return process;
}

// Before anything is stopped: a stopped thread no longer tells since when it slept.
Status FrozenProcess::look_at_sleeps() {
  SleepWatch watch;
  CRS_TRY(const auto tids, state_->proc.tasks());
  for (const Tid tid : tids) {
    const auto task = state_->proc.open_task(tid);
    if (!task) continue;
    if (const auto sleep = watch.look_at(*task)) state_->sleeps.emplace(tid, *sleep);
  }
  state_->stopped_at = monotonic_now();
  return ok();
}

// /proc/PID and the number of a leader that has ended lead to nothing; those of any other thread do.
Status FrozenProcess::look_without_leader(const ProcFields& leader) {
  constexpr std::size_t exit_code_field = 52;
  constexpr unsigned thread_pidfd = O_EXCL;  // PIDFD_THREAD, since Linux 6.9
  State& frozen = *state_;
  CRS_TRY(const ProcStat stat, frozen.proc.stat());
  EndedLeader ended;
  ended.exit_code = static_cast<int>(stat.field(exit_code_field) >> 8 & 0xff);
  ended.name = stat.comm;
  ended.signal_mask = leader.number("SigBlk", 16).value_or(0);
  frozen.ended_leader = std::move(ended);
  const Tid living = living_thread();
  frozen.pidfd = OwnedFd(static_cast<int>(syscall(SYS_pidfd_open, living.v, thread_pidfd)));
  if (!frozen.pidfd && errno == EINVAL) {
    return Error(Errc::refused,
                 "the main thread of " + to_string(frozen.pid) + " has ended while others go on")
        .with_hint("saving such a process needs Linux 6.9 or newer");
  }
  if (!frozen.pidfd) return Error::from_errno(errno, "pidfd_open " + to_string(living), Errc::target_gone);
  CRS_TRY(frozen.proc, ProcDir::open(Pid(living.v)));
  return ok();
}

// Everything that is read of a process as soon as it stands still.
Status FrozenProcess::look() {
  State& frozen = *state_;
  std::ranges::sort(frozen.threads, {}, [&](const FrozenThread& thread) {
    return std::pair(thread.tid.v != frozen.pid.v, thread.tid.v);
  });
  CRS_TRY(const ProcFields leader, frozen.proc.status());
  CRS_TRY(frozen.ns_pid, ns_id(leader));
  if (frozen.threads.front().tid.v != frozen.pid.v) CRS_CHECK(look_without_leader(leader));
  CRS_TRY(frozen.status, frozen.proc.status());
  CRS_TRY(frozen.stat, frozen.proc.stat());
  if (frozen.ended_leader) frozen.stat.comm = frozen.ended_leader->name;
  CRS_CHECK(check_is_ordinary(frozen.pid, frozen.stat));
  CRS_TRY(frozen.memory, frozen.proc.open_entry("mem", O_RDWR));
  const MemoryReader read = [this](RemoteAddr from, std::span<std::byte> out) {
    return read_memory(from, out);
  };
  for (FrozenThread& thread : frozen.threads) {
    CRS_CHECK(read_registers(thread, frozen.memory.get()));
    const auto sleep = frozen.sleeps.find(thread.tid);
    CRS_CHECK(look_at_call(thread, sleep == frozen.sleeps.end() ? std::nullopt : std::optional(sleep->second),
                           frozen.stopped_at, frozen.proc, read));
    if (thread.registers.cs == code_segment_32bit) {
      return Error(Errc::refused, to_string(frozen.pid) + " is a 32-bit program")
          .with_hint("crs saves 64-bit programs only");
    }
    thread.ns_tid = NsPid(thread.tid.v);
    if (frozen.ns_pid.v != frozen.pid.v || thread.tid.v == frozen.pid.v ||
        frozen.status.numbers("NSpid").size() > 1) {
      CRS_TRY(const ProcDir task, frozen.proc.open_task(thread.tid));
      CRS_TRY(const ProcFields status, task.status());
      CRS_TRY(thread.ns_tid, ns_id(status));
    }
  }
  CRS_TRY(frozen.vmas, frozen.proc.maps());
  for (FrozenThread& thread : frozen.threads) {
    if (thread.shortened && !can_be_shortened(thread.registers, frozen.vmas, read)) thread.shortened.reset();
  }
  return ok();
}

FrozenProcess::FrozenProcess(std::unique_ptr<State> state) : state_(std::move(state)) {}
FrozenProcess::FrozenProcess(FrozenProcess&&) noexcept = default;
FrozenProcess& FrozenProcess::operator=(FrozenProcess&&) noexcept = default;

// A thread that a failed freeze left running cannot be detached here; the kernel does it when we end.
FrozenProcess::~FrozenProcess() {
  release();
}

void FrozenProcess::release() {
  if (!state_ || state_->released) return;
  state_->released = true;
  const auto is_shortened = [this](const FrozenThread& thread) {
    return thread.shortened && !thread.has_alternate_stack && !state_->group_stopped;
  };
  for (const FrozenThread& thread : state_->threads) {
    if (is_shortened(thread)) continue;
    try {
      leave_note_of(thread, state_->proc);
    } catch (const std::exception&) {  // out of memory; the next checkpoint knows less
    }
    ptrace(PTRACE_DETACH, thread.tid.v, nullptr, nullptr);
  }
  for (const FrozenThread& thread : state_->threads) {
    if (is_shortened(thread))
      let_go_shortened(thread.tid, thread.registers, *thread.shortened, state_->memory.get());
  }
}

Pid FrozenProcess::pid() const {
  return state_->pid;
}
NsPid FrozenProcess::ns_pid() const {
  return state_->ns_pid;
}
int FrozenProcess::pidfd() const {
  return state_->pidfd.get();
}
std::chrono::nanoseconds FrozenProcess::stopped_at() const {
  return state_->stopped_at;
}
const std::optional<FrozenProcess::EndedLeader>& FrozenProcess::ended_leader() const {
  return state_->ended_leader;
}
const ProcDir& FrozenProcess::proc() const {
  return state_->proc;
}
const ProcFields& FrozenProcess::status() const {
  return state_->status;
}
const ProcStat& FrozenProcess::stat() const {
  return state_->stat;
}
const std::vector<Vma>& FrozenProcess::vmas() const {
  return state_->vmas;
}
std::span<const FrozenThread> FrozenProcess::threads() const {
  return state_->threads;
}
bool FrozenProcess::locks_future_mappings() const {
  return state_->locks_future_mappings;
}
bool FrozenProcess::calls_were_unsafe() const {
  return state_->calls_were_unsafe;
}
bool FrozenProcess::group_stopped() const {
  return state_->group_stopped;
}

Status FrozenProcess::read_memory(RemoteAddr from, std::span<std::byte> out) const {
  auto status = pread_exact(state_->memory.get(), out, from.v, "memory of " + to_string(state_->pid));
  if (!status) {
    status.error().set_code(state_->proc.stat() ? Errc::kernel : Errc::target_gone);
  }
  return status;
}

}  // namespace crs
