// SPDX-License-Identifier: Apache-2.0
#include "engine/remote_calls.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "engine/frozen_state.h"
#include "engine/interrupted_calls.h"
#include "engine/signal_frame.h"

namespace crs {
namespace {

// Walks an array of {number, a1..a6, result} at rbx, rbp entries, then leaves through rt_sigreturn.
constexpr unsigned char loop_code[] = {
    0x48, 0x8b, 0x03,              // again: mov (%rbx),%rax
    0x48, 0x8b, 0x7b, 0x08,        //        mov 8(%rbx),%rdi
    0x48, 0x8b, 0x73, 0x10,        //        mov 16(%rbx),%rsi
    0x48, 0x8b, 0x53, 0x18,        //        mov 24(%rbx),%rdx
    0x4c, 0x8b, 0x53, 0x20,        //        mov 32(%rbx),%r10
    0x4c, 0x8b, 0x43, 0x28,        //        mov 40(%rbx),%r8
    0x4c, 0x8b, 0x4b, 0x30,        //        mov 48(%rbx),%r9
    0x0f, 0x05,                    //        syscall
    0x48, 0x89, 0x43, 0x38,        //        mov %rax,56(%rbx)
    0x48, 0x83, 0xc3, 0x40,        //        add $64,%rbx
    0x48, 0xff, 0xcd,              //        dec %rbp
    0x75, 0xd6,                    //        jnz again
    0xb8, 0x0f, 0x00, 0x00, 0x00,  //        mov $SYS_rt_sigreturn,%eax
    0x0f, 0x05,                    //        syscall
};

// PTRACE_GET_SYSCALL_INFO, since Linux 5.3; what is used of struct ptrace_syscall_info.
constexpr auto ptrace_get_syscall_info = static_cast<__ptrace_request>(0x420e);
struct SyscallStop {
  std::uint8_t operation;
  std::uint8_t rest[87];
};
constexpr std::uint8_t at_entry = 1;  // PTRACE_SYSCALL_INFO_ENTRY

// What was begun inside the process is brought to its end, and its traces taken away, whatever the user's own
// limit: the calls take no time. Only a process that cannot run makes us give up.
constexpr auto patience = std::chrono::seconds(30);

constexpr std::array notify_signals = {SIGWINCH, SIGURG, SIGCHLD};  // ignored by default

// A program that single-steps itself (the trap flag) would get a SIGTRAP at our first instruction, where all
// signals are blocked: that ends it. rt_sigreturn gives the flag back.
user_regs_struct for_our_code(user_regs_struct registers) {
  constexpr std::uint64_t trap_flag = 0x100;
  registers.eflags &= ~trap_flag;
  return registers;
}

std::uint64_t bit(int signal) {
  return std::uint64_t{1} << (signal - 1);
}

// Code of the program's own that the first and the last call go through.
struct Gadgets {
  RemoteAddr call;   // syscall; ret
  RemoteAddr leave;  // mov $15,%eax (or %rax); syscall
  bool safe = true;  // false: there is only a bare `syscall`, whatever may follow it
};

std::optional<RemoteAddr> find_code(std::span<const std::byte> code, std::uint64_t base,
                                    std::span<const unsigned char> wanted) {
  const auto bytes = std::as_bytes(wanted);
  const void* found = memmem(code.data(), code.size(), bytes.data(), bytes.size());
  if (found == nullptr) return std::nullopt;
  return RemoteAddr(base + static_cast<std::uint64_t>(static_cast<const std::byte*>(found) - code.data()));
}

Result<Gadgets> find_gadgets(const FrozenProcess& process) {
  static constexpr unsigned char call_code[] = {0x0f, 0x05, 0xc3};
  static constexpr unsigned char leave_long[] = {0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
  static constexpr unsigned char leave_short[] = {0xb8, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05};
  constexpr std::uint64_t piece = 1u << 20;
  std::optional<RemoteAddr> call, leave;
  Bytes code;
  // The C library holds both and is small; a large executable comes first in the list, so pieces are
  // searched.
  std::vector<const Vma*> candidates;
  for (const Vma& vma : process.vmas()) {
    if (vma.execute && vma.read && vma.name != "[vsyscall]") candidates.push_back(&vma);
  }
  std::ranges::stable_sort(candidates, {}, [](const Vma* vma) {
    return std::pair(vma->name.find("libc") == std::string::npos, vma->name == "[vdso]");
  });
  for (const Vma* vma : candidates) {
    for (std::uint64_t at = vma->start; at < vma->end && (!call || !leave); at += piece) {
      code.resize(std::min(piece + 16, vma->end - at));
      if (!process.read_memory(RemoteAddr(at), code)) break;
      if (!call) call = find_code(code, at, call_code);
      if (!leave) leave = find_code(code, at, leave_long);
      if (!leave) leave = find_code(code, at, leave_short);
    }
    if (call && leave) return Gadgets{*call, *leave, true};
  }
  // Rare (static programs of musl): any system call will do as long as we live to see its exit.
  static constexpr unsigned char bare_call[] = {0x0f, 0x05};
  for (const Vma* vma : candidates) {
    code.resize(std::min<std::uint64_t>(vma->size(), 16 * piece));
    if (!process.read_memory(RemoteAddr(vma->start), code)) continue;
    if (const auto bare = find_code(code, vma->start, bare_call))
      return Gadgets{*bare, leave.value_or(*bare), false};
  }
  return Error(Errc::unsupported, "no system call in the program's memory")
      .with_hint("such a program cannot be asked for its state without danger to it");
}

class Session {
 public:
  Session(FrozenProcess& process, Deadline deadline)
      : process_(process), state_(process.state()), deadline_(deadline) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    try {
      (void)end();
    } catch (const std::exception&) {  // out of memory; the threads return by themselves (signal_frame.h)
    }
  }

  Status begin(std::span<const RemoteJob> jobs);
  Status run(std::span<const RemoteJob> jobs);
  Status end();
  // To be run before the batches.
  Status set_prologue(std::span<const std::byte> code);
  // The batch of `thread` holds an execve(2).
  Status expect_execution(std::size_t thread);
  bool executed() const { return executed_; }
  // From here on it does not die with us.
  Status expect_no_execution();

 private:
  struct Thread {
    bool used = false;
    bool inside = false;  // its registers are ours
    std::optional<int> notify;
    RemoteAddr frame;  // rsp for its batches
  };

  Tid tid(std::size_t thread) const { return state_.threads[thread].tid; }
  user_regs_struct remade(std::size_t thread) const { return remake_call(state_.threads[thread].registers); }
  void choose_carrier();
  void choose_notify_signals();
  void set_endings(std::span<const RemoteJob> jobs);
  Status map_area();
  Result<std::int64_t> map(std::uint64_t size, int protection);
  void note_locked_area();
  Status set_registers(std::size_t thread, const user_regs_struct& registers);
  Status set_mask(std::size_t thread, std::uint64_t mask);
  Status resume(std::size_t thread, __ptrace_request how);
  Result<int> wait(std::size_t thread) {
    return executes_ ? wait_while_executing(thread) : wait_for_stop(tid(thread), deadline_);
  }
  Result<int> wait_while_executing(std::size_t thread);
  Status set_options(std::size_t thread, long options);
  Result<std::int64_t> call_through_gadget(long number, std::array<std::uint64_t, 6> arguments);
  Status put_stack_back();
  Status start(std::size_t thread, RemoteAddr entries, std::size_t count);
  Status await_end(std::size_t thread);
  Status leave(std::size_t thread);

  FrozenProcess& process_;
  FrozenProcess::State& state_;
  Deadline deadline_;
  Gadgets gadgets_;
  std::vector<Thread> threads_;
  std::size_t carrier_ = 0;  // the thread that makes the first and the last call
  RemoteAddr area_;
  RemoteAddr code_;
  std::optional<RemoteAddr> prologue_;
  std::uint64_t area_size_ = 0;
  std::optional<std::size_t> executes_;  // the thread whose batch holds an execve(2)
  bool executed_ = false;
  RemoteAddr stack_at_;
  Bytes stack_bytes_;  // what was on the carrier's stack where its frame is
};

// Endings must be set before anything is measured: they are part of the image.
void Session::set_endings(std::span<const RemoteJob> jobs) {
  for (const RemoteJob& job : jobs) {
    job.batch->clear_ending();
    const auto notify = threads_[job.thread].notify;
    if (!notify) continue;
    job.batch->set_ending(SYS_tgkill, {static_cast<std::uint64_t>(state_.ns_pid.v),
                                       static_cast<std::uint64_t>(state_.threads[job.thread].ns_tid.v),
                                       static_cast<std::uint64_t>(*notify)});
  }
}

// A thread on the process's first stack has room below it. A goroutine's stack may end anywhere.
void Session::choose_carrier() {
  const auto stack = std::ranges::find(state_.vmas, "[stack]", &Vma::name);
  if (stack == state_.vmas.end()) return;
  const auto found = std::ranges::find_if(state_.threads, [&](const FrozenThread& thread) {
    return stack->contains(thread.registers.rsp) && thread.registers.rsp - stack->start > 16384;
  });
  if (found != state_.threads.end()) carrier_ = static_cast<std::size_t>(found - state_.threads.begin());
}

void Session::choose_notify_signals() {
  const std::uint64_t caught = state_.status.number("SigCgt", 16).value_or(~std::uint64_t{0});
  const std::uint64_t pending = state_.status.number("ShdPnd", 16).value_or(~std::uint64_t{0});
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    for (const int signal : notify_signals) {
      if (((caught | pending | state_.threads[i].signal_mask) & bit(signal)) == 0) {
        threads_[i].notify = signal;
        break;
      }
    }
  }
}

Status Session::set_registers(std::size_t thread, const user_regs_struct& registers) {
  if (ptrace(PTRACE_SETREGS, tid(thread).v, nullptr, &registers) != 0) {
    return Error::from_errno(errno, "set registers of " + to_string(tid(thread)), Errc::target_gone);
  }
  return ok();
}

Status Session::set_mask(std::size_t thread, std::uint64_t mask) {
  if (ptrace(PTRACE_SETSIGMASK, tid(thread).v, sizeof mask, &mask) != 0) {
    return Error::from_errno(errno, "set the signal mask of " + to_string(tid(thread)), Errc::target_gone);
  }
  return ok();
}

Status Session::resume(std::size_t thread, __ptrace_request how) {
  if (ptrace(how, tid(thread).v, nullptr, nullptr) != 0) {
    return Error::from_errno(errno, "resume " + to_string(tid(thread)), Errc::target_gone);
  }
  return ok();
}

// One call by the carrier, its frame on the stack. Ends in the stop at the call's exit.
Result<std::int64_t> Session::call_through_gadget(long number, std::array<std::uint64_t, 6> arguments) {
  const FrozenThread& thread = state_.threads[carrier_];
  const SignalFrame frame = make_signal_frame(RemoteAddr(thread.registers.rsp - 128), gadgets_.leave,
                                              remade(carrier_), thread.signal_mask, thread.xstate);
  auto status = ok();
  if (stack_bytes_.empty()) {
    stack_bytes_.resize(frame.bytes.size());
    stack_at_ = frame.at;
    status = process_.read_memory(frame.at, stack_bytes_);
  }
  if (status) status = state_.write_memory(frame.at, frame.bytes);
  if (!status) {
    stack_bytes_.clear();
    return std::move(status).error().with_context("the stack of " + to_string(thread.tid) + " has no room");
  }
  user_regs_struct registers = for_our_code(thread.registers);
  registers.orig_rax = ~std::uint64_t{0};
  registers.rip = gadgets_.call.v;
  registers.rsp = frame.stack.v;
  registers.rax = static_cast<std::uint64_t>(number);
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  CRS_CHECK(set_registers(carrier_, registers));
  threads_[carrier_].inside = true;
  CRS_CHECK(set_mask(carrier_, ~std::uint64_t{0}));
  for (bool entered = false;;) {
    CRS_CHECK(resume(carrier_, PTRACE_SYSCALL));
    CRS_TRY(const int got, wait(carrier_));
    if (WSTOPSIG(got) != (SIGTRAP | 0x80)) continue;
    SyscallStop stop{};
    if (ptrace(ptrace_get_syscall_info, thread.tid.v, sizeof stop, &stop) < 0) {
      return Error::from_errno(errno, "look at a system call of " + to_string(thread.tid));
    }
    if (stop.operation == at_entry) {
      entered = true;
    } else if (entered) {
      break;
    } else {
      // The exit of the rt_sigreturn at whose entry the thread stood, and which was skipped.
      CRS_CHECK(set_registers(carrier_, registers));
    }
  }
  if (ptrace(PTRACE_GETREGS, thread.tid.v, nullptr, &registers) != 0) {
    return Error::from_errno(errno, "read registers", Errc::target_gone);
  }
  return static_cast<std::int64_t>(registers.rax);
}

Status Session::put_stack_back() {
  if (stack_bytes_.empty()) return ok();
  auto status = state_.write_memory(stack_at_, stack_bytes_);
  stack_bytes_.clear();
  return status;
}

Result<std::int64_t> Session::map(std::uint64_t size, int protection) {
  return call_through_gadget(SYS_mmap, {0, size, static_cast<std::uint64_t>(protection),
                                        MAP_PRIVATE | MAP_ANONYMOUS, ~std::uint64_t{0}, 0});
}

// Lifts the process's soft limits of memory as long as it lives: for the moment of one mmap(2).
class LiftedLimits {
 public:
  explicit LiftedLimits(Pid pid) : pid_(pid) {
    for (std::size_t i = 0; i < resources.size(); ++i) {
      rlimit lifted{};
      if (prlimit(pid.v, resources[i], nullptr, &before_[i]) != 0) continue;
      lifted.rlim_cur = lifted.rlim_max = before_[i].rlim_max;
      lifted_[i] = prlimit(pid.v, resources[i], &lifted, nullptr) == 0;
    }
  }
  LiftedLimits(const LiftedLimits&) = delete;
  LiftedLimits& operator=(const LiftedLimits&) = delete;
  ~LiftedLimits() {
    for (std::size_t i = 0; i < resources.size(); ++i) {
      if (lifted_[i]) prlimit(pid_.v, resources[i], &before_[i], nullptr);
    }
  }

 private:
  static constexpr std::array resources = {RLIMIT_AS, RLIMIT_DATA};
  Pid pid_;
  std::array<rlimit, 2> before_{};
  std::array<bool, 2> lifted_{};
};

Status Session::map_area() {
  CRS_TRY(std::int64_t mapped, map(area_size_, PROT_READ | PROT_WRITE | PROT_EXEC));
  if (mapped == -ENOMEM) {
    const LiftedLimits lifted(state_.pid);
    CRS_TRY(mapped, map(area_size_, PROT_READ | PROT_WRITE | PROT_EXEC));
  }
  if (mapped == -EACCES || mapped == -EPERM) {
    // Memory that can be written may not be executed here (PR_SET_MDWE): the code gets a page of its own,
    // which ptrace may write all the same.
    CRS_TRY(const std::int64_t code, map(page_size, PROT_READ | PROT_EXEC));
    if (code > -4096 && code < 0)
      return Error::from_errno(static_cast<int>(-code), "map code in " + to_string(state_.pid));
    code_ = RemoteAddr(static_cast<std::uint64_t>(code));
    CRS_TRY(mapped, map(area_size_, PROT_READ | PROT_WRITE));
  }
  if (mapped < 0 && mapped > -4096) {
    return Error::from_errno(static_cast<int>(-mapped), "map memory for calls in " + to_string(state_.pid),
                             Errc::refused)
        .with_hint("the program may not have more memory (its limits: /proc/PID/limits, its cgroup)");
  }
  area_ = RemoteAddr(static_cast<std::uint64_t>(mapped));
  if (code_.v == 0) code_ = area_;
  note_locked_area();
  return ok();
}

// mlockall(MCL_FUTURE) shows in nothing but what new mappings are like, such as ours.
void Session::note_locked_area() {
  const auto now = state_.proc.status();
  if (!now) return;
  state_.locks_future_mappings = now->number("VmLck").value_or(0) > state_.status.number("VmLck").value_or(0);
}

Status Session::begin(std::span<const RemoteJob> jobs) {
  CRS_TRY(gadgets_, find_gadgets(process_));
  state_.calls_were_unsafe = !gadgets_.safe;
  threads_.resize(state_.threads.size());
  for (const RemoteJob& job : jobs) threads_[job.thread].used = true;
  choose_carrier();
  threads_[carrier_].used = true;
  choose_notify_signals();
  set_endings(jobs);

  area_size_ = page_size + 64;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].used) area_size_ += signal_frame_space(state_.threads[i].xstate.size());
  }
  for (const RemoteJob& job : jobs) area_size_ += job.batch->image_size();
  area_size_ = page_up(area_size_);
  CRS_CHECK(map_area());
  CRS_CHECK(state_.write_memory(code_, batch_loop()));
  RemoteAddr at = area_ + page_size;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (!threads_[i].used) continue;
    const FrozenThread& thread = state_.threads[i];
    at = at + signal_frame_space(thread.xstate.size());
    const SignalFrame frame =
        make_signal_frame(at, gadgets_.leave, remade(i), thread.signal_mask, thread.xstate);
    CRS_CHECK(state_.write_memory(frame.at, frame.bytes));
    threads_[i].frame = frame.stack;
  }
  // The carrier's frame is in the area now, where killed or not it is found: leave the stack as it was.
  user_regs_struct registers = for_our_code(state_.threads[carrier_].registers);
  registers.orig_rax = ~std::uint64_t{0};
  registers.rip = code_.v + sizeof loop_code - 7;  // straight to rt_sigreturn
  registers.rsp = threads_[carrier_].frame.v + 8;
  CRS_CHECK(set_registers(carrier_, registers));
  return put_stack_back();
}

// Sets the thread going on `count` entries at `entries`.
Status Session::start(std::size_t thread, RemoteAddr entries, std::size_t count) {
  user_regs_struct registers = for_our_code(state_.threads[thread].registers);
  registers.orig_rax = ~std::uint64_t{0};
  registers.rip = prologue_.value_or(code_).v;
  registers.r12 = code_.v;
  registers.rbx = entries.v;
  registers.rbp = count;
  registers.rsp = threads_[thread].frame.v + 8;  // rt_sigreturn finds the frame 8 bytes below
  CRS_CHECK(set_registers(thread, registers));
  threads_[thread].inside = true;
  const auto notify = threads_[thread].notify;
  CRS_CHECK(set_mask(thread, notify ? ~bit(*notify) : ~std::uint64_t{0}));
  return resume(thread, notify ? PTRACE_CONT : PTRACE_SYSCALL);
}

Status Session::await_end(std::size_t thread) {
  const auto notify = threads_[thread].notify;
  for (;;) {
    CRS_TRY(const int status, wait(thread));
    const int signal = WSTOPSIG(status);
    executed_ = status >> 16 == PTRACE_EVENT_EXEC;
    if (executed_) return ok();
    if (notify && status >> 16 == 0 && signal == *notify) {
      siginfo_t info{};
      if (ptrace(PTRACE_GETSIGINFO, tid(thread).v, nullptr, &info) != 0) {
        return Error::from_errno(errno, "read a signal of " + to_string(tid(thread)), Errc::target_gone);
      }
      if (info.si_code == SI_TKILL && info.si_pid == state_.ns_pid.v) return ok();
      // Over RLIMIT_SIGPENDING, which counts all processes of the user, a signal comes without its data.
      if (info.si_code == SI_USER && info.si_pid == 0) return ok();
    }
    if (!notify && signal == (SIGTRAP | 0x80)) {
      user_regs_struct registers{};
      if (ptrace(PTRACE_GETREGS, tid(thread).v, nullptr, &registers) != 0) {
        return Error::from_errno(errno, "read registers", Errc::target_gone);
      }
      if (registers.orig_rax == SYS_rt_sigreturn) return ok();
    }
    // Another signal: it is ignored by default and not caught, so dropping it is what the kernel would do.
    CRS_CHECK(resume(thread, notify ? PTRACE_CONT : PTRACE_SYSCALL));
  }
}

Status Session::set_options(std::size_t thread, long options) {
  if (ptrace(PTRACE_SETOPTIONS, tid(thread).v, nullptr, options) != 0)
    return Error::from_errno(errno, "set how " + to_string(tid(thread)) + " is traced", Errc::target_gone);
  return ok();
}

Status Session::set_prologue(std::span<const std::byte> code) {
  constexpr std::uint64_t behind_the_loop = 256;
  if (code.size() > page_size - behind_the_loop) return Error(Errc::bug, "code that does not fit its page");
  prologue_ = code_ + behind_the_loop;
  return state_.write_memory(*prologue_, code);
}

Status Session::expect_execution(std::size_t thread) {
  executes_ = thread;
  return set_options(thread, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
}

Status Session::expect_no_execution() {
  return set_options(*std::exchange(executes_, std::nullopt), PTRACE_O_TRACESYSGOOD);
}

// The kernel ends all other threads first, and waits until their tracer has heard of each (ptrace(2), "execve
// under ptrace"). The thread goes on under the number of the first.
Result<int> Session::wait_while_executing(std::size_t thread) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (i == thread) continue;
      int ended = 0;
      const pid_t got = waitpid(tid(i).v, &ended, __WALL | WNOHANG);
      if (got == tid(i).v && WIFSTOPPED(ended) && tid(i).v == state_.pid.v) return ended;
    }
    for (const pid_t number : {tid(thread).v, state_.pid.v}) {
      int status = 0;
      const pid_t got = waitpid(number, &status, __WALL | WNOHANG);
      if (got != number) continue;
      if (WIFSTOPPED(status)) return status;
      if (number == state_.pid.v) return Error(Errc::target_gone, to_string(state_.pid) + " ended");
    }
    if (kill(state_.pid.v, 0) != 0 && errno == ESRCH)
      return Error(Errc::target_gone, to_string(state_.pid) + " ended");
    if (deadline_.passed()) return Error(Errc::timeout, to_string(state_.pid) + " does not get ahead");
    if (std::chrono::steady_clock::now() - start > std::chrono::milliseconds(1))
      std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

Status Session::run(std::span<const RemoteJob> jobs) {
  RemoteAddr at = area_ + page_size;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].used) at = at + signal_frame_space(state_.threads[i].xstate.size());
  }
  at = RemoteAddr((at.v + 63) & ~63ull);
  struct Placed {
    const RemoteJob* job;
    RemoteAddr at;
    bool done = false;
  };
  std::vector<Placed> placed;
  for (const RemoteJob& job : jobs) {
    const std::uint64_t size = job.batch->image_size();
    if (at.v + size > area_.v + area_size_) return Error(Errc::bug, "a batch does not fit its area");
    CRS_CHECK(state_.write_memory(at, job.batch->image(at)));
    placed.push_back({&job, at});
    at = at + size;
  }
  // One batch of each thread at a time, all threads at once.
  while (std::ranges::any_of(placed, [](const Placed& each) { return !each.done; })) {
    std::vector<Placed*> round;
    for (Placed& each : placed) {
      if (each.done) continue;
      if (std::ranges::any_of(round,
                              [&](const Placed* other) { return other->job->thread == each.job->thread; }))
        continue;
      round.push_back(&each);
      CRS_CHECK(start(each.job->thread, each.at, each.job->batch->entries()));
    }
    for (Placed* each : round) {
      CRS_CHECK(await_end(each->job->thread));
      if (executed_) return ok();
      Bytes image(each->job->batch->image_size());
      CRS_CHECK(process_.read_memory(each->at, image));
      each->job->batch->absorb(image);
      each->done = true;
    }
  }
  return ok();
}

// From the stop that ended its batch back to where the freeze found the thread.
Status Session::leave(std::size_t thread) {
  const FrozenThread& frozen = state_.threads[thread];
  CRS_CHECK(set_mask(thread, frozen.signal_mask));
  if (thread == carrier_ || !threads_[thread].notify) {
    // A stop at a system call: the kernel restarts calls only on its way out of a signal stop, so make one
    // more.
    CRS_CHECK(set_registers(thread, remade(thread)));
    if (thread == carrier_) CRS_CHECK(put_stack_back());
    if (ptrace(PTRACE_INTERRUPT, frozen.tid.v, nullptr, nullptr) != 0) {
      return Error::from_errno(errno, "interrupt " + to_string(frozen.tid), Errc::target_gone);
    }
    for (;;) {
      CRS_CHECK(resume(thread, PTRACE_CONT));
      CRS_TRY(const int status, wait(thread));
      if (status >> 16 == PTRACE_EVENT_STOP) break;
    }
  }
  CRS_CHECK(set_registers(thread, frozen.registers));
  threads_[thread].inside = false;
  return ok();
}

Status Session::end() {
  if (executed_) threads_.clear();  // there is nothing left to be put back
  if (threads_.empty()) return ok();
  Status result;
  const auto keep = [&](Status status) {
    if (!status && result) result = std::move(status);
  };
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (i != carrier_ && threads_[i].inside) keep(leave(i));
  }
  const auto unmap = [&](RemoteAddr from, std::uint64_t size) {
    if (from.v == 0) return;
    auto unmapped = call_through_gadget(SYS_munmap, {from.v, size, 0, 0, 0, 0});
    if (!unmapped) {
      keep(std::move(unmapped).error());
    } else if (*unmapped < 0) {
      keep(Error::from_errno(static_cast<int>(-*unmapped), "unmap memory in " + to_string(state_.pid)));
    }
  };
  if (code_ != area_) unmap(code_, page_size);
  unmap(area_, area_size_);
  if (threads_[carrier_].inside) keep(leave(carrier_));
  threads_.clear();
  return result;
}

}  // namespace

std::span<const std::byte> batch_loop() {
  return std::as_bytes(std::span(loop_code));
}

Status make_remote_calls(FrozenProcess& process, std::span<const RemoteJob> jobs, Deadline deadline) {
  if (jobs.empty()) return ok();
  CRS_CHECK(deadline.check("the process was being asked for its state"));
  Session session(process, Deadline::after(patience));
  CRS_CHECK(session.begin(jobs));
  CRS_CHECK(session.run(jobs));
  CRS_CHECK(session.end());
  for (const RemoteJob& job : jobs) CRS_CHECK(job.batch->first_failure());
  return ok();
}

Status run_before_batch(FrozenProcess& process, std::span<const std::byte> code, CallBatch& batch,
                        Deadline deadline) {
  CRS_CHECK(deadline.check("the process was about to be asked"));
  const RemoteJob job{0, &batch};
  Session session(process, Deadline::after(patience));
  CRS_CHECK(session.begin(std::span(&job, 1)));
  CRS_CHECK(session.set_prologue(code));
  CRS_CHECK(session.run(std::span(&job, 1)));
  CRS_CHECK(session.end());
  return batch.first_failure();
}

Result<bool> execute_remotely(FrozenProcess& process, std::size_t thread, CallBatch& batch,
                              Deadline deadline) {
  CRS_CHECK(deadline.check("the process was about to be replaced"));
  const RemoteJob job{thread, &batch};
  Session session(process, Deadline::after(patience));
  CRS_CHECK(session.begin(std::span(&job, 1)));
  CRS_CHECK(session.expect_execution(thread));
  auto run = session.run(std::span(&job, 1));
  if (session.executed()) {
    process.state().released = true;
    return true;
  }
  if (run) run = session.expect_no_execution();
  CRS_CHECK(run);
  CRS_CHECK(session.end());
  return false;
}

}  // namespace crs
