// FrozenProcess: a process that stands still while we look at it, and goes on unharmed afterwards.
//
// What this file knows
//   All threads are seized and stopped (PTRACE_SEIZE, PTRACE_INTERRUPT, repeated over /proc/PID/task until a
//   pass finds nothing new). The destructor lets every thread go with its own registers and signal mask;
//   killed at any instant, we leave the same behind, because the kernel detaches (remote_calls.h tells how
//   calls stay safe). All ptrace(2) requests must come from the thread that made the object.
// Kernel interfaces: ptrace(2), proc(5), pidfd_open(2).
#pragma once

#include <sys/user.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/other_processes.h"
#include "engine/thread_namespaces.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/proc.h"
#include "os/result.h"

namespace crs {

struct FrozenThread {
  Tid tid;
  NsPid ns_tid;  // what gettid(2) answers there
  // As the stop found them, orig_rax and -ERESTART values included; orig_rax SYS_restart_syscall only where
  // it is not known which call goes on.
  user_regs_struct registers{};
  bool eintr_taken_back = false;  // has_unearned_eintr() held as it stopped
  std::uint64_t signal_mask = 0;  // bit n-1: signal n
  Bytes xstate;                   // NT_X86_XSTATE, uncompacted
  // What is left of the relative time limit of an interrupted call (wait_limits.h); nullopt where it has
  // none.
  std::optional<std::chrono::nanoseconds> limit_left;
  // What a call that begins anew is to be given for its limit (shortened_waits.h); nullopt: its own.
  std::optional<std::chrono::nanoseconds> shortened;
  bool has_alternate_stack = true;  // known after remote calls were made
  // When it ends (CLOCK_MONOTONIC), where the kernel goes on counting (needs_restart_block) and tells nobody.
  std::optional<std::chrono::nanoseconds> wait_ends;
};

class FrozenProcess {
 public:
  // Stops all threads. errors: not_found, permission, busy (a tracer, named), refused (kernel thread, zombie,
  // 32-bit, ourselves), timeout (a thread in state D, named with its system call), target_gone.
  static Result<FrozenProcess> freeze(Pid pid, Deadline deadline);
  FrozenProcess(FrozenProcess&&) noexcept;
  FrozenProcess& operator=(FrozenProcess&&) noexcept;
  ~FrozenProcess();

  Pid pid() const;
  NsPid ns_pid() const;
  // Of the process, or of a thread that lives where the leader has ended (PIDFD_THREAD). Borrowed.
  int pidfd() const;
  const ProcDir& proc() const;                    // of living_thread()
  const ProcFields& status() const;               // /proc/PID/status at the freeze
  const ProcStat& stat() const;                   // /proc/PID/stat at the freeze
  const std::vector<Vma>& vmas() const;           // /proc/PID/maps at the freeze, before any remote call
  std::span<const FrozenThread> threads() const;  // the leader first, unless it has ended
  // A leader that ended while other threads go on (pthread_exit(3) in main) is a zombie: it is not among
  // threads(), pid() is still its number, and the kernel finds memory and descriptors of the process by other
  // threads' numbers.
  struct EndedLeader {
    int exit_code = 0;              // what it gave to exit(2)
    std::string name;               // comm
    std::uint64_t signal_mask = 0;  // still shown in /proc/PID/status
  };
  const std::optional<EndedLeader>& ended_leader() const;
  Tid living_thread() const { return threads().front().tid; }  // the leader, if it lives
  std::chrono::nanoseconds stopped_at() const;  // CLOCK_MONOTONIC, just before the first thread was stopped
  bool group_stopped() const;                   // job control had stopped it (state T) before we came

  bool locks_future_mappings() const;  // mlockall(MCL_FUTURE); known after remote calls were made
  bool calls_were_unsafe() const;      // no usable code in the program: being killed meanwhile would hurt it

  // /proc/locks; empty for a kernel without file locks. Reading it waits until every processor has seen that
  // somebody does (percpu_down_write in locks_start, fs/locks.c), 10 ms and more. So it is read before the
  // stop, and again only if it may tell of this process: a lock that lies in no descriptor (those are in
  // fdinfo) and is younger would have been taken, mapped and closed in between.
  Result<const std::string*> file_locks() const;
  // What other processes have open (other_processes.h).
  Result<const OtherDescriptors*> others() const;
  // Those that may share memory, descriptors or working directory with it; to be asked again (sharing.cc).
  Result<std::span<const Pid>> sharing_processes() const;
  // Where each thread lives.
  Result<const std::map<Tid, ThreadNamespaces>*> thread_namespaces() const;

  // Exactly out.size() bytes; reads what the target itself may not (PROT_NONE) as well. Any thread may call
  // it.
  Status read_memory(RemoteAddr from, std::span<std::byte> out) const;
  template <class T>
  Result<T> read_value(RemoteAddr from) const {
    T value{};
    CRS_CHECK(read_memory(from, std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }

  struct State;
  State& state() { return *state_; }  // for the engine's own files

 private:
  explicit FrozenProcess(std::unique_ptr<State> state);
  static Result<FrozenProcess> freeze_once(Pid pid, Deadline deadline);
  void release();  // all threads run
  Status look_at_sleeps();
  Status look();
  Status look_without_leader(const ProcFields& leader);
  std::unique_ptr<State> state_;
};

}  // namespace crs
