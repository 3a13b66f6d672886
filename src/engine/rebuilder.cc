// SPDX-License-Identifier: Apache-2.0
#include "engine/rebuilder.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <thread>

#include "engine/frozen_state.h"
#include "engine/interrupted_calls.h"
#include "engine/remote_calls.h"
#include "engine/rseq_registration.h"
#include "engine/shortened_waits.h"
#include "engine/wait_limits.h"

namespace crs {
namespace {

constexpr std::uint64_t syscall_in_loop = 27;  // offset of the system call instruction in batch_loop()

bool queues_signals(const CallBatch& batch) {
  return batch.makes(SYS_rt_sigqueueinfo) || batch.makes(SYS_rt_tgsigqueueinfo);
}

}  // namespace

Rebuilder::Rebuilder(Setup setup) : setup_(std::move(setup)) {
  ids_.push_back(setup_.ns_pid);
  host_tids_[setup_.ns_pid.v] = Tid(setup_.pid.v);
}

Tid Rebuilder::host_tid(NsPid ns_tid) const {
  const auto found = host_tids_.find(ns_tid.v);
  return found == host_tids_.end() ? Tid(0) : found->second;
}

Result<int> Rebuilder::wait_for(Tid tid) const {
  auto status = wait_for_stop(tid, setup_.deadline);
  // Said in other words than of a process that does not want to be frozen.
  if (!status && status.error().code() == Errc::timeout) {
    CRS_CHECK(setup_.deadline.check("the process was being rebuilt"));
  }
  return status;
}

Status Rebuilder::begin() {
  const Tid leader(setup_.pid.v);
  for (;;) {
    CRS_TRY(const int status, wait_for(leader));
    if (status >> 16 == 0 && WSTOPSIG(status) == SIGSTOP) break;
    CRS_CHECK(resume(leader, PTRACE_CONT));
  }
  // Only from here on: the copy's own helper threads must not be stopped.
  constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SETOPTIONS, leader.v, nullptr, options) != 0) {
    return Error::from_errno(errno, "trace the new process's threads", Errc::target_gone);
  }
  CRS_TRY(memory_, open_file("/proc/" + std::to_string(setup_.pid.v) + "/mem", O_RDWR));
  return pwrite_all(memory_.get(), batch_loop(), setup_.landing.v, "the landing");
}

Status Rebuilder::resume(Tid tid, int how) {
  if (ptrace(static_cast<__ptrace_request>(how), tid.v, nullptr, nullptr) != 0) {
    return Error::from_errno(errno, "resume " + to_string(tid), Errc::target_gone);
  }
  return ok();
}

Result<user_regs_struct> Rebuilder::registers_of(Tid tid) const {
  user_regs_struct registers{};
  if (ptrace(PTRACE_GETREGS, tid.v, nullptr, &registers) != 0) {
    return Error::from_errno(errno, "read registers of " + to_string(tid), Errc::target_gone);
  }
  return registers;
}

Status Rebuilder::start(const Job& job) {
  const Tid tid = host_tid(job.thread);
  CRS_TRY(user_regs_struct registers, registers_of(tid));
  registers.orig_rax = ~std::uint64_t{0};
  registers.rip = setup_.landing.v;
  registers.rbx = job.at.v;
  registers.rbp = job.batch->entries();
  if (ptrace(PTRACE_SETREGS, tid.v, nullptr, &registers) != 0) {
    return Error::from_errno(errno, "set registers of " + to_string(tid), Errc::target_gone);
  }
  return resume(tid, job.stepped ? PTRACE_SYSCALL : PTRACE_CONT);
}

Status Rebuilder::await_end(const Job& job) {
  const Tid tid = host_tid(job.thread);
  for (;;) {
    CRS_TRY(const int status, wait_for(tid));
    const int signal = WSTOPSIG(status);
    if (job.stepped && signal == (SIGTRAP | 0x80)) {
      CRS_TRY(const user_regs_struct registers, registers_of(tid));
      if (registers.orig_rax == SYS_rt_sigreturn) {
        // Its entry. Skipped by the next start() or leave(), which set orig_rax to -1 and another rip.
        return ok();
      }
    } else if (status >> 16 == 0 && signal == SIGSTOP && !job.stepped) {
      siginfo_t info{};
      if (ptrace(PTRACE_GETSIGINFO, tid.v, nullptr, &info) != 0) {
        return Error::from_errno(errno, "read a signal of " + to_string(tid), Errc::target_gone);
      }
      // Over RLIMIT_SIGPENDING, which counts all processes of the user, a signal comes without its data.
      if (info.si_code == SI_TKILL || (info.si_code == SI_USER && info.si_pid == 0)) return ok();
    } else if (status >> 16 == PTRACE_EVENT_CLONE) {
      unsigned long made = 0;
      if (ptrace(PTRACE_GETEVENTMSG, tid.v, nullptr, &made) != 0) {
        return Error::from_errno(errno, "read a new thread's id", Errc::target_gone);
      }
      const Tid thread(static_cast<pid_t>(made));
      CRS_TRY([[maybe_unused]] const int first_stop, wait_for(thread));
      CRS_TRY(const ProcDir proc, ProcDir::open(Pid(thread.v)));
      CRS_TRY(const ProcFields fields, proc.status());
      const auto ids = fields.numbers("NSpid");
      if (ids.empty()) return Error(Errc::unsupported, "this kernel's /proc does not tell NSpid");
      host_tids_[static_cast<pid_t>(ids.back())] = thread;
    }
    CRS_CHECK(resume(tid, job.stepped ? PTRACE_SYSCALL : PTRACE_CONT));
  }
}

Status Rebuilder::run_round(std::vector<Job>& jobs) {
  for (const Job& job : jobs) {
    const Bytes image = job.batch->image(job.at);
    CRS_CHECK(pwrite_all(memory_.get(), image, job.at.v, "a batch"));
    CRS_CHECK(start(job));
  }
  for (const Job& job : jobs) {
    CRS_CHECK(await_end(job));
    Bytes image(job.batch->image_size());
    CRS_CHECK(pread_exact(memory_.get(), image, job.at.v, "a batch"));
    job.batch->absorb(image);
    CRS_CHECK(job.batch->first_failure().context([&] { return "thread " + to_string(job.thread); }));
  }
  jobs.clear();
  return ok();
}

Status Rebuilder::run() {
  std::vector<std::pair<NsPid, CallBatch*>> wanted;
  if (!leader_batch_.empty()) wanted.emplace_back(setup_.ns_pid, &leader_batch_);
  for (auto& [id, batch] : thread_batches_) {
    if (!batch.empty()) wanted.emplace_back(NsPid(id), &batch);
  }
  std::ranges::stable_sort(wanted, {}, [](const auto& each) { return queues_signals(*each.second); });

  const RemoteAddr first = setup_.landing + page_size;
  const std::uint64_t end =
      setup_.landing.v + setup_.landing_size / 2;  // behind it is the shelter of the vdso
  std::vector<Job> round;
  RemoteAddr at = first;
  for (auto& [id, batch] : wanted) {
    if (host_tid(id).v == 0)
      return Error(Errc::bug, "a batch for thread " + to_string(id) + ", which does not exist");
    const bool stepped = queues_signals(*batch);
    batch->clear_ending();
    if (!stepped) {
      batch->set_ending(SYS_tgkill, {static_cast<std::uint64_t>(setup_.ns_pid.v),
                                     static_cast<std::uint64_t>(id.v), SIGSTOP});
    }
    const std::uint64_t size = batch->image_size();
    if (first.v + size > end)
      return Error(Errc::refused, "the process has too many objects to be rebuilt at once");
    const bool thread_is_taken =
        std::ranges::any_of(round, [&, thread = id](const Job& job) { return job.thread == thread; });
    const bool mixes = !round.empty() && round.front().stepped != stepped;
    if (at.v + size > end || thread_is_taken || mixes) {
      CRS_CHECK(run_round(round));
      at = first;
    }
    round.push_back({id, batch, at, stepped});
    at = at + size;
  }
  CRS_CHECK(run_round(round));
  leader_batch_ = CallBatch();
  thread_batches_.clear();
  return ok();
}

Status Rebuilder::unregister_rseq() {
  constexpr int unregister = 1;  // RSEQ_FLAG_UNREGISTER
  for (const auto& [id, tid] : host_tids_) {
    CRS_TRY(const auto rseq, read_rseq_registration(tid));
    if (rseq.address == 0) continue;
    CallBatch& batch = id == setup_.ns_pid.v ? leader_batch_ : thread(NsPid(id));  // before its other calls
    batch.call("unregister rseq", SYS_rseq, RemoteAddr(rseq.address), rseq.size, unregister, rseq.signature);
  }
  return ok();
}

Status Rebuilder::adopt(const FrozenProcess& process, std::span<const NsPid> saved) {
  constexpr long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
  const std::uint64_t all_signals = ~std::uint64_t{0};
  ids_.clear();
  for (const FrozenThread& thread : process.threads()) {
    if (ptrace(PTRACE_SETOPTIONS, thread.tid.v, nullptr, options) != 0 ||
        ptrace(PTRACE_SETSIGMASK, thread.tid.v, sizeof all_signals, &all_signals) != 0)
      return Error::from_errno(errno, "take over " + to_string(thread.tid), Errc::target_gone);
    host_tids_[thread.ns_tid.v] = thread.tid;
    const bool stays = std::ranges::find(saved, thread.ns_tid) != saved.end();
    (stays ? ids_ : surplus_).push_back(thread.ns_tid);
  }
  CRS_TRY(memory_, open_file("/proc/" + std::to_string(setup_.pid.v) + "/mem", O_RDWR));
  return pwrite_all(memory_.get(), batch_loop(), setup_.landing.v, "the landing");
}

// Nothing in the process's memory is told of their end: that is as saved.
Status Rebuilder::end_surplus_threads() {
  for (const NsPid id : surplus_) {
    CallBatch& batch = thread(id);
    batch.try_call(SYS_set_tid_address, nullptr);
    batch.try_call(SYS_set_robust_list, nullptr, 24);
  }
  CRS_CHECK(run());
  for (const NsPid id : surplus_) {
    const Tid tid = host_tid(id);
    CRS_TRY(user_regs_struct registers, registers_of(tid));
    registers.orig_rax = ~std::uint64_t{0};
    registers.rip = setup_.landing.v + syscall_in_loop;
    registers.rax = SYS_exit;
    registers.rdi = 0;
    CRS_CHECK(set_registers(tid, registers));
    CRS_CHECK(resume(tid, PTRACE_CONT));
    for (int status = 0;;) {
      const pid_t got = waitpid(tid.v, &status, __WALL | WNOHANG);
      if (got == tid.v && (WIFEXITED(status) || WIFSIGNALED(status))) break;
      if (got < 0 && errno != EINTR) break;
      if (got == tid.v) CRS_CHECK(resume(tid, PTRACE_CONT));
      CRS_CHECK(setup_.deadline.check("the process was being rebuilt"));
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    host_tids_.erase(id.v);
  }
  surplus_.clear();
  return ok();
}

Status Rebuilder::create_threads(std::span<const NsPid> ids) {
  for (const NsPid id : ids) {
    if (host_tid(id).v != 0) continue;
    for (int attempt = 0;; ++attempt) {
      CallBatch batch;
      clone_args arguments{};
      arguments.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
      arguments.stack = setup_.landing.v + setup_.landing_size / 2;  // never used, but must be something
      arguments.stack_size = 4096;
      arguments.set_tid_size = 1;
      const auto number = batch.in_value(id.v);
      const auto buffer = batch.in_value(arguments);
      batch.point(buffer, offsetof(clone_args, set_tid), number);
      const auto made = batch.try_call(SYS_clone3, buffer, sizeof arguments);
      std::vector<Job> jobs{{setup_.ns_pid, &batch, setup_.landing + page_size, false}};
      batch.set_ending(SYS_tgkill, {static_cast<std::uint64_t>(setup_.ns_pid.v),
                                    static_cast<std::uint64_t>(setup_.ns_pid.v), SIGSTOP});
      CRS_CHECK(run_round(jobs));
      const auto result = batch.result(made);
      if (result == id.v) break;
      const int error_number = static_cast<int>(-result);
      // A helper thread of ours that just ended may hold the number for a moment.
      if (error_number == EEXIST && attempt < 50) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      if (error_number == EEXIST) {
        return Error(Errc::busy, "the thread id " + to_string(id) + " is in use by another process");
      }
      return Error::from_errno(error_number, "create thread " + to_string(id));
    }
    if (host_tid(id).v == 0) return Error(Errc::bug, "thread " + to_string(id) + " was made but not seen");
    ids_.push_back(id);
  }
  return ok();
}

Status Rebuilder::end_leader(const FrozenProcess::EndedLeader& ended) {
  const Tid tid = host_tid(setup_.ns_pid);
  CRS_CHECK(to_signal_stop(setup_.ns_pid));
  CRS_TRY(user_regs_struct registers, registers_of(tid));
  registers.rip = setup_.landing.v + syscall_in_loop;
  registers.rax = SYS_exit;
  registers.rdi = static_cast<std::uint64_t>(ended.exit_code);
  CRS_CHECK(set_registers(tid, registers));
  CRS_CHECK(to_entry(tid));
  // Inside the call no signal is delivered any more.
  if (ptrace(PTRACE_SETSIGMASK, tid.v, sizeof ended.signal_mask, &ended.signal_mask) != 0) {
    return Error::from_errno(errno, "set the signal mask of " + to_string(tid), Errc::target_gone);
  }
  // Let go first: the end of a traced leader would be told to its tracer, not to its parent.
  if (ptrace(PTRACE_DETACH, tid.v, nullptr, nullptr) != 0) {
    return Error::from_errno(errno, "let " + to_string(tid) + " run", Errc::target_gone);
  }
  while (!is_zombie(tid)) {
    CRS_CHECK(setup_.deadline.check("the process was being rebuilt"));
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  std::erase(ids_, setup_.ns_pid);
  return ok();
}

Status Rebuilder::leave(NsPid ns_tid, RemoteAddr hole, std::uint64_t size) {
  const Tid tid = host_tid(ns_tid);
  CRS_TRY(user_regs_struct registers, registers_of(tid));
  registers.orig_rax = ~std::uint64_t{0};
  registers.rip = setup_.landing.v + syscall_in_loop;
  registers.rax = SYS_munmap;
  registers.rdi = hole.v;
  registers.rsi = size;
  if (ptrace(PTRACE_SETREGS, tid.v, nullptr, &registers) != 0) {
    return Error::from_errno(errno, "set registers", Errc::target_gone);
  }
  // A thread left at the entry of rt_sigreturn shows one exit stop first.
  for (bool entered = false;;) {
    CRS_CHECK(resume(tid, PTRACE_SYSCALL));
    CRS_TRY(const int status, wait_for(tid));
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    CRS_TRY(registers, registers_of(tid));
    if (!entered) {
      entered = registers.orig_rax == SYS_munmap;
      if (registers.orig_rax == ~std::uint64_t{0}) {
        registers.rip = setup_.landing.v + syscall_in_loop;
        registers.rax = SYS_munmap;
        if (ptrace(PTRACE_SETREGS, tid.v, nullptr, &registers) != 0) {
          return Error::from_errno(errno, "set registers", Errc::target_gone);
        }
      }
      continue;
    }
    if (registers.rax != 0)
      return Error::from_errno(static_cast<int>(-static_cast<std::int64_t>(registers.rax)),
                               "unmap the landing");
    return ok();
  }
}

Status Rebuilder::set_registers(Tid tid, const user_regs_struct& registers) {
  if (ptrace(PTRACE_SETREGS, tid.v, nullptr, &registers) != 0) {
    return Error::from_errno(errno, "set registers of " + to_string(tid), Errc::target_gone);
  }
  return ok();
}

Status Rebuilder::to_signal_stop(NsPid ns_tid) {
  const Tid tid = host_tid(ns_tid);
  // Where it stands at the entry of a call, that call is skipped; it stops before it runs any code.
  CRS_TRY(user_regs_struct registers, registers_of(tid));
  registers.orig_rax = ~std::uint64_t{0};
  CRS_CHECK(set_registers(tid, registers));
  if (ptrace(PTRACE_INTERRUPT, tid.v, nullptr, nullptr) != 0) {
    return Error::from_errno(errno, "interrupt " + to_string(tid), Errc::target_gone);
  }
  for (;;) {
    CRS_CHECK(resume(tid, PTRACE_CONT));
    CRS_TRY(const int status, wait_for(tid));
    if (status >> 16 == PTRACE_EVENT_STOP) return ok();
  }
}

// From a signal stop in front of a system call to the stop at its entry.
Status Rebuilder::to_entry(Tid tid) {
  for (;;) {
    CRS_CHECK(resume(tid, PTRACE_SYSCALL));
    CRS_TRY(const int status, wait_for(tid));
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return ok();
  }
}

// The call's registers, its limit replaced by what is left; a timespec lies at the landing.
Result<user_regs_struct> Rebuilder::with_limit(NsPid ns_tid, const user_regs_struct& registers,
                                               std::optional<std::chrono::nanoseconds> left) {
  user_regs_struct call = registers;
  const MemoryReader read = [this](RemoteAddr from, std::span<std::byte> out) {
    return pread_exact(memory_.get(), out, from.v, "memory");
  };
  const auto limit = find_limit(registers.orig_rax, registers, read);
  WaitNote note{registers.orig_rax, std::nullopt};
  if (limit && left && limit->passes && !limit->rest) note.ends = monotonic_now() + *left;
  waits_[ns_tid.v] = note;
  if (!limit || !left) return call;
  if (limit->form == LimitForm::milliseconds) {
    argument_of(call, limit->argument) = whole_milliseconds(*left);
    return call;
  }
  const auto whole = std::chrono::floor<std::chrono::seconds>(*left);
  const timespec rest{whole.count(), (*left - whole).count()};
  const RemoteAddr at = setup_.landing + page_size;
  CRS_CHECK(pwrite_all(memory_.get(), std::as_bytes(std::span(&rest, 1)), at.v, "a time limit"));
  argument_of(call, limit->argument) = at.v;
  return call;
}

Result<user_regs_struct> Rebuilder::wait_again(NsPid ns_tid, const user_regs_struct& registers,
                                               std::optional<std::chrono::nanoseconds> left) {
  const Tid tid = host_tid(ns_tid);
  CRS_CHECK(to_signal_stop(ns_tid));
  CRS_TRY(user_regs_struct call, with_limit(ns_tid, registers, left));
  call.rip = setup_.landing.v + syscall_in_loop;
  call.rax = registers.orig_rax;
  call.orig_rax = ~std::uint64_t{0};
  CRS_CHECK(set_registers(tid, call));
  CRS_CHECK(to_entry(tid));
  // Interrupted from its first moment, the call does not sleep but leaves its restart block at once.
  if (ptrace(PTRACE_INTERRUPT, tid.v, nullptr, nullptr) != 0) {
    return Error::from_errno(errno, "interrupt " + to_string(tid), Errc::target_gone);
  }
  for (;;) {
    CRS_CHECK(resume(tid, PTRACE_CONT));
    CRS_TRY(const int status, wait_for(tid));
    if (status >> 16 == PTRACE_EVENT_STOP) break;
  }
  CRS_TRY(const user_regs_struct answer, registers_of(tid));
  if (needs_restart_block(answer)) return registers;
  waits_.erase(ns_tid.v);
  user_regs_struct answered = registers;
  answered.orig_rax = ~std::uint64_t{0};
  answered.rax = answer.rax;
  if (is_interrupted(answer)) answered.orig_rax = registers.orig_rax;  // to be made again from its start
  return answered;
}

void Rebuilder::leave_note_of(NsPid ns_tid) {
  const auto wait = waits_.find(ns_tid.v);
  if (wait == waits_.end()) return;
  const Tid tid = host_tid(ns_tid);
  const auto registers = registers_of(tid);
  const auto task = ProcDir::open(Pid(tid.v));
  if (!registers || !task) return;
  // The note is good for one sleep: the thread must not have to wait for its own code to be read from disk.
  std::array<std::byte, 2> code{};
  (void)pread_exact(memory_.get(), code, registers->rip - code.size(), "code");
  leave_note(tid, *task, wait->second);
}

void Rebuilder::shorten(NsPid ns_tid, const user_regs_struct& registers, std::chrono::nanoseconds left) {
  shortened_[ns_tid.v] = Shortened{registers, left};
}

// Once one thread runs it may end the process, and then there is nothing left to let go: that is no failure,
// and its parent hears of its end when its traced threads were waited for.
Status Rebuilder::let_go(NsPid ns_tid, bool others_run) {
  leave_note_of(ns_tid);
  const Tid tid = host_tid(ns_tid);
  if (ptrace(PTRACE_DETACH, tid.v, nullptr, nullptr) == 0) return ok();
  const int error_number = errno;
  if (error_number != ESRCH || !others_run)
    return Error::from_errno(error_number, "let " + to_string(tid) + " run", Errc::target_gone);
  if (tid.v != setup_.pid.v) waitpid(tid.v, nullptr, __WALL);
  return ok();
}

// It is traced no more, so that its signals and the threads that it makes are its own; the others hold the
// process to our life (PTRACE_O_EXITKILL).
Status Rebuilder::run_first() {
  if (!first_) return ok();
  using Clock = std::chrono::steady_clock;
  const Tid tid = host_tid(first_->thread);
  if (const auto call = shortened_.find(first_->thread.v); call != shortened_.end()) {
    let_go_shortened(tid, call->second.registers, call->second.left, memory_.get());
    shortened_.erase(call);
  } else {
    CRS_CHECK(let_go(first_->thread, false));
  }
  std::erase(ids_, first_->thread);
  const auto since = Clock::now();
  const auto limit = setup_.options.hook_limit;
  for (;;) {
    CRS_TRY(const bool done, first_->wait());
    if (done) return ok();
    const auto task = ProcDir::open(Pid(tid.v));
    const auto stat = task ? task->stat() : Result<ProcStat>(Error(task.error()));
    if (!stat || stat->state == 'Z' || stat->state == 'X') {
      // It may have been done, and have ended the process then.
      CRS_TRY(const bool was_done, first_->wait());
      if (was_done) return ok();
      return Error(Errc::target_gone, "the program ended while it was " + first_->doing());
    }
    if (!setup_.first_has_own_time) CRS_CHECK(setup_.deadline.check("the program was " + first_->doing()));
    if (limit.count() != 0 && Clock::now() - since > limit) {
      return Error(Errc::timeout, "the program has been " + first_->doing() + " for " +
                                      std::to_string(limit.count()) + " seconds")
          .with_hint("parameter service.hook_limit says how long that may take");
    }
  }
}

Status Rebuilder::detach() {
  bool runs = !shortened_.empty() || first_;
  for (const auto& [id, call] : shortened_)
    let_go_shortened(host_tid(NsPid(id)), call.registers, call.left, memory_.get());
  for (const NsPid id : ids_) {
    if (shortened_.contains(id.v)) continue;
    CRS_CHECK(let_go(id, runs));
    runs = true;
  }
  return ok();
}

}  // namespace crs
