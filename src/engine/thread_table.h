// SPDX-License-Identifier: Apache-2.0
// Thread table: each thread's registers and what it told the kernel of itself.
//
// What this file knows
//   PTRACE_GETREGS, NT_X86_XSTATE and PTRACE_GETSIGMASK were read by the freeze. The robust list and the rseq
//   registration can be asked from outside, the address of clear_child_tid (PR_GET_TID_ADDRESS) and the
//   alternate stack only from inside. An interrupted system call is saved as the stop found it, for the
//   kernel to restart (interrupted_calls.h).
// What it leaves to others
//   Creating threads (rebuilder.h); scheduling, credentials, pending signals of threads (the kinds).
//
// Kernel interfaces: ptrace(2) PTRACE_GET_RSEQ_CONFIGURATION (since Linux 5.13), get_robust_list(2), rseq(2),
// set_tid_address(2), sigaltstack(2), prctl(2).
#pragma once

#include <sys/user.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "engine/interrupted_code.h"
#include "engine/resource_kind.h"
#include "engine/thread_table.pb.h"

namespace crs {

class ThreadTable {
 public:
  static constexpr std::string_view section = "thread_table";

  void ask(const FrozenProcess& target, Questions& questions);
  Status collect(CollectContext& context);
  Result<std::string> save() const { return to_section(table_); }

  // Checks ids, sizes and that registers lead to user space and cannot raise privileges.
  Status load(std::string_view bytes);
  Status check(CheckContext& context) const;                       // vector features that this CPU lacks
  NsPid process() const;                                           // the pid
  std::optional<FrozenProcess::EndedLeader> ended_leader() const;  // one that is not in ids()
  const std::vector<NsPid>& ids() const { return ids_; }
  bool stopped() const { return table_.stopped(); }
  bool leads_group() const { return table_.leads_group(); }
  bool leads_session() const { return table_.leads_session(); }
  bool has_terminal() const { return table_.has_terminal(); }
  std::size_t size() const { return ids_.size(); }

  // Phase::threads: calls that each thread makes about itself.
  void rebuild(RebuildContext& context) const;
  // Those with which the thread goes on, and what is left of the limit of the call in which it waits.
  user_regs_struct registers(std::size_t index) const;
  AddressRange alternate_stack(std::size_t index) const;  // empty: none
  std::optional<std::chrono::nanoseconds> limit_left(std::size_t index) const;
  std::optional<std::chrono::nanoseconds> shortened(std::size_t index) const;  // shortened_waits.h
  bool has_alternate_stack(std::size_t index) const;
  // Addresses that the kernel writes to for the thread: its rseq area, robust list and thread id; 0: none.
  std::array<std::uint64_t, 3> known_to_kernel(std::size_t index) const;
  // The last: vector state, registers, signal mask by ptrace(2), of the stopped thread `tid`.
  Status set_state(std::size_t index, Tid tid, const user_regs_struct& registers) const;
  nlohmann::json describe() const;

 private:
  struct Question {
    CallBatch::Buffer tid_address, alternate_stack;
  };
  std::vector<Question> questions_;
  std::vector<NsPid> ids_;
  state::ThreadTable table_;
};

}  // namespace crs
