// SPDX-License-Identifier: Apache-2.0
// Rebuilder: finishes a half-made process from outside, by batches of system calls that its threads make.
//
// What this file knows
//   The process is ours and dies with us (PTRACE_O_EXITKILL), so its batches need no way back. They run at
//   the landing, the only memory that is there from the beginning to the end. A batch ends with a SIGSTOP of
//   the thread to itself, which is seen as a signal-delivery-stop and suppressed. SIGSTOP would flush a
//   pending SIGCONT, so batches that queue signals are stepped from system call to system call instead, after
//   all others. clone3(2) with set_tid makes each thread under its old number; it stops at its first
//   instruction, traced. The last munmap(2) takes the landing away and is stopped at its exit, where the real
//   registers go in.
// What it leaves to others
//   What the calls are (AddressSpace, ThreadTable, the kinds).
//
// Kernel interfaces: ptrace(2), clone3(2).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/resource_kind.h"
#include "engine/wait_notes.h"
#include "os/deadline.h"

namespace crs {

class Rebuilder : public RebuildContext {
 public:
  struct Setup {
    const RestoreOptions& options;
    Pid pid;  // in our pid namespace; seized by us, running or stopped
    NsPid ns_pid;
    RemoteAddr landing;
    std::uint64_t landing_size = 0;
    int executable_fd = -1;
    Deadline deadline;
    std::function<void(std::string)> note;
    bool first_has_own_time = false;  // what a thread does before the others run is not held to the deadline
  };
  explicit Rebuilder(Setup setup);

  // Waits for the process to stop itself (SIGSTOP) and puts the loop at the landing. errors: target_gone.
  Status begin();
  // Instead of begin(): a living process of whose threads each is stopped by us, with the landing mapped;
  // from now on it dies with us. `saved` are the threads it shall have. errors: target_gone.
  Status adopt(const FrozenProcess& process, std::span<const NsPid> saved);
  // Those that begin() or adopt() found and that are not to be: ends them. errors: target_gone.
  Status end_surplus_threads();
  int memory() const { return memory_.get(); }  // /proc/PID/mem, borrowed

  // Runs everything that was queued, and empties the batches.
  Status run();
  // Queues the end of each thread's registration, which the kernel would otherwise go on writing to.
  Status unregister_rseq();
  // Makes the threads that are not there (the leader is ids[0]). errors: busy (an id is taken).
  Status create_threads(std::span<const NsPid> ids);
  // Lets the leader end, as it had in the saved process, while the others go on.
  Status end_leader(const FrozenProcess::EndedLeader& ended);
  // Unmaps [hole, hole + size), which holds the landing, by a thread that lives; nothing can be queued
  // afterwards.
  Status leave(NsPid ns_tid, RemoteAddr hole, std::uint64_t size);
  Status detach();  // all threads run; waits that go on get a note for the next checkpoint (wait_notes.h)

  // Sends a thread into its interrupted call once more, with what is left of the limit, and takes it out
  // again, so that the kernel has a restart block for it. Answers the registers with which it goes on at a
  // signal stop: those given, or, where the call had its answer at once, the same with the answer. All its
  // signals must be blocked. Before leave().
  Result<user_regs_struct> wait_again(NsPid ns_tid, const user_regs_struct& registers,
                                      std::optional<std::chrono::nanoseconds> left);
  // Of a call that the kernel makes again: detach() lets the thread into it with that limit
  // (shortened_waits.h).
  void shorten(NsPid ns_tid, const user_regs_struct& registers, std::chrono::nanoseconds left);
  // Lets the thread go that is to run before the others, if there is one, and waits until it is done. errors:
  // timeout, target_gone, what the thread answers.
  Status run_first();
  // From any stop to one at which the kernel restarts calls.
  Status to_signal_stop(NsPid ns_tid);

  const RestoreOptions& options() const override { return setup_.options; }
  Pid pid() const override { return setup_.pid; }
  NsPid ns_pid() const override { return setup_.ns_pid; }
  Tid host_tid(NsPid ns_tid) const override;
  std::span<const NsPid> threads() const override { return ids_; }
  int executable_fd() const override { return setup_.executable_fd; }
  CallBatch& leader() override { return leader_batch_; }
  CallBatch& thread(NsPid ns_tid) override { return thread_batches_[ns_tid.v]; }
  void let_run_first(FirstToRun first) override { first_ = std::move(first); }
  void note(std::string text) override { setup_.note(std::move(text)); }

 private:
  struct Job {
    NsPid thread;
    CallBatch* batch;
    RemoteAddr at;
    bool stepped = false;
  };
  Status run_round(std::vector<Job>& jobs);
  Result<int> wait_for(Tid tid) const;
  Status start(const Job& job);
  Status await_end(const Job& job);
  Status resume(Tid tid, int how);
  Result<user_regs_struct> registers_of(Tid tid) const;
  Status set_registers(Tid tid, const user_regs_struct& registers);
  Status to_entry(Tid tid);
  Status let_go(NsPid ns_tid, bool others_run);
  void leave_note_of(NsPid ns_tid);
  Result<user_regs_struct> with_limit(NsPid ns_tid, const user_regs_struct& registers,
                                      std::optional<std::chrono::nanoseconds> left);

  Setup setup_;
  OwnedFd memory_;
  std::vector<NsPid> ids_;
  std::vector<NsPid> surplus_;
  std::map<pid_t, Tid> host_tids_;
  CallBatch leader_batch_;
  std::map<pid_t, CallBatch> thread_batches_;
  std::map<pid_t, WaitNote> waits_;  // of wait_again()
  struct Shortened {
    user_regs_struct registers;
    std::chrono::nanoseconds left;
  };
  std::map<pid_t, Shortened> shortened_;
  std::optional<FirstToRun> first_;
};

}  // namespace crs
