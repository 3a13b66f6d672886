// SPDX-License-Identifier: Apache-2.0
#include "engine/thread_table.h"

#include <elf.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "engine/controlling_terminal.h"
#include "engine/interrupted_calls.h"
#include "engine/rseq_registration.h"

namespace crs {
namespace {

constexpr std::uint64_t user_space_end = 0x7ffffffff000;
constexpr std::size_t xcr0_offset = 464;  // ptrace puts the features that the kernel uses there
constexpr std::size_t xstate_bv_offset = 512;
constexpr std::size_t smallest_xstate = 576;
constexpr std::size_t largest_xstate = 64 * 1024;
constexpr std::uint64_t code_segment = 0x33;
constexpr std::uint64_t changeable_flags =
    0x244dd5;  // what rt_sigreturn lets a program set (FIX_EFLAGS), and ID

struct Feature {
  int bit;
  std::string_view name;
};
constexpr Feature features[] = {{2, "AVX"},
                                {5, "AVX-512 (mask registers)"},
                                {6, "AVX-512 (upper halves)"},
                                {7, "AVX-512"},
                                {9, "protection keys (PKU)"},
                                {17, "AMX (tile configuration)"},
                                {18, "AMX (tiles)"},
                                {19, "APX"}};

std::uint64_t word_at(std::string_view bytes, std::size_t offset) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + offset, sizeof word);
  return word;
}

// Which vector features this machine's kernel uses: from a look at ourselves. xgetbv(0).
std::uint64_t own_features() {
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

}  // namespace

void ThreadTable::ask(const FrozenProcess& target, Questions& questions) {
  for (const FrozenThread& thread : target.threads()) {
    CallBatch& batch = questions.thread(thread.ns_tid);
    Question question{batch.out(sizeof(std::uint64_t)), batch.out(sizeof(stack_t))};
    batch.call("prctl(PR_GET_TID_ADDRESS)", SYS_prctl, PR_GET_TID_ADDRESS, question.tid_address, 0, 0, 0);
    batch.call("sigaltstack", SYS_sigaltstack, nullptr, question.alternate_stack);
    questions_.push_back(question);
  }
}

Status ThreadTable::collect(CollectContext& context) {
  const FrozenProcess& target = context.target;
  table_.Clear();
  table_.set_stopped(target.group_stopped());
  const auto pid = static_cast<std::uint64_t>(target.pid().v);
  table_.set_leads_group(target.stat().field(5) == pid);
  table_.set_leads_session(target.stat().field(6) == pid);
  const std::uint64_t terminal = controlling_terminal(target.stat());
  table_.set_has_terminal(table_.leads_session() && terminal != 0 && !is_console(terminal));
  if (const auto& leader = target.ended_leader()) {
    auto& ended = *table_.mutable_ended_leader();
    ended.set_id(target.ns_pid().v);
    ended.set_exit_code(leader->exit_code);
    ended.set_name(leader->name);
    ended.set_signal_mask(leader->signal_mask);
  }
  const auto read = [&](RemoteAddr from, std::span<std::byte> out) { return target.read_memory(from, out); };
  for (std::size_t i = 0; i < target.threads().size(); ++i) {
    const FrozenThread& thread = target.threads()[i];
    auto& saved = *table_.add_threads();
    saved.set_id(thread.ns_tid.v);
    saved.set_signal_mask(thread.signal_mask);
    saved.set_xstate(thread.xstate.data(), thread.xstate.size());
    const CallBatch& answers = context.answers.thread(thread.ns_tid);
    saved.set_clear_child_tid(answers.value<std::uint64_t>(questions_[i].tid_address));
    auto alternate = answers.value<stack_t>(questions_[i].alternate_stack);
    // SS_ONSTACK says that it was in use, which sigaltstack(2) does not take back; being in use follows from
    // rsp.
    alternate.ss_flags &= ~SS_ONSTACK;
    saved.set_alternate_stack(&alternate, sizeof alternate);

    std::uint64_t robust_list = 0, robust_list_size = 0;
    if (syscall(SYS_get_robust_list, thread.tid.v, &robust_list, &robust_list_size) != 0) {
      return Error::from_errno(errno, "get_robust_list of " + to_string(thread.tid));
    }
    saved.set_robust_list(robust_list);
    saved.set_robust_list_size(robust_list_size);

    if (is_restarted(thread.registers)) {
      context.blockers.add("thread " + to_string(thread.ns_tid),
                           "it waits in a call that a stop interrupted before, and the kernel does not tell "
                           "which call that is",
                           "try again: it is most often known while the thread is asleep (/proc/PID/wchan), "
                           "and always once the wait is over");
    }
    const user_regs_struct registers = carry_over_call(thread.registers, read);
    if (thread.limit_left) saved.set_limit_left_ns(thread.limit_left->count());
    if (thread.shortened && !has_alternate_stack(i)) saved.set_shortened_ns(thread.shortened->count());
    CRS_TRY(const auto rseq, read_rseq_registration(thread.tid));
    saved.set_rseq_address(rseq.address);
    saved.set_rseq_size(rseq.size);
    saved.set_rseq_signature(rseq.signature);
    saved.set_registers(&registers, sizeof registers);
    CRS_TRY(const ProcDir task, target.proc().open_task(thread.tid));
    CRS_TRY(std::string name, task.read("comm"));
    if (!name.empty() && name.back() == '\n') name.pop_back();
    saved.set_name(std::move(name));
  }
  return ok();
}

Status ThreadTable::load(std::string_view bytes) {
  CRS_CHECK(from_section(bytes, table_));
  if (table_.threads_size() == 0) return Error(Errc::bad_snapshot, "there are no threads");
  std::set<int> seen;
  if (table_.has_ended_leader()) {
    const auto& ended = table_.ended_leader();
    if (ended.id() <= 0 || ended.id() > (1 << 22)) return Error(Errc::bad_snapshot, "an impossible pid");
    if (ended.name().size() > 15) return Error(Errc::bad_snapshot, "a name that is too long");
    seen.insert(ended.id());
  }
  for (const auto& thread : table_.threads()) {
    const auto bad = [&](std::string_view what) {
      return Error(Errc::bad_snapshot, "thread " + std::to_string(thread.id()) + ": " + std::string(what));
    };
    if (thread.id() <= 0 || thread.id() > (1 << 22) || !seen.insert(thread.id()).second)
      return bad("impossible id");
    if (thread.registers().size() != sizeof(user_regs_struct)) return bad("registers of the wrong size");
    user_regs_struct registers{};
    std::memcpy(&registers, thread.registers().data(), sizeof registers);
    if (registers.cs != code_segment) return bad("it is not 64-bit code");
    if (registers.fs_base >= user_space_end || registers.gs_base >= user_space_end)
      return bad("impossible segment base");
    if (thread.xstate().size() < smallest_xstate || thread.xstate().size() > largest_xstate) {
      return bad("vector registers of the wrong size");
    }
    if (thread.alternate_stack().size() != sizeof(stack_t)) return bad("alternate stack of the wrong size");
    if (thread.name().size() > 15) return bad("a name that is too long");
    if (thread.has_limit_left_ns() && thread.limit_left_ns() < 0)
      return bad("a wait that ended before it began");
    if (thread.has_shortened_ns() && thread.shortened_ns() < 0) return bad("a limit below zero");
    ids_.emplace_back(thread.id());
  }
  return ok();
}

Status ThreadTable::check(CheckContext& context) const {
  const std::uint64_t here = own_features();
  std::uint64_t missing = 0;
  for (const auto& thread : table_.threads()) {
    // A program may have looked at the CPU at its start: what its kernel offered counts, not only what is in
    // use now.
    missing |= word_at(thread.xstate(), xcr0_offset) & ~here;
    missing |= word_at(thread.xstate(), xstate_bv_offset) & ~here;
  }
  if (missing == 0 || context.options.ignore_cpu_features) return ok();
  std::string names;
  for (const Feature& feature : features) {
    if ((missing >> feature.bit & 1) != 0) names += (names.empty() ? "" : ", ") + std::string(feature.name);
  }
  context.blockers.add("CPU",
                       "the program was started on a CPU with features that this one lacks: " +
                           (names.empty() ? "unknown ones" : names),
                       "restart it on a machine that has them, or with --ignore-cpu if it does not use them");
  return ok();
}

void ThreadTable::rebuild(RebuildContext& context) const {
  if (table_.has_ended_leader()) {
    const auto name = context.leader().in_string(table_.ended_leader().name());
    context.leader().call("prctl(PR_SET_NAME)", SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
  }
  for (const auto& thread : table_.threads()) {
    CallBatch& batch = context.thread(NsPid(thread.id()));
    batch.try_call(SYS_set_tid_address, RemoteAddr(thread.clear_child_tid()));
    if (thread.robust_list() != 0) {
      batch.call("set_robust_list", SYS_set_robust_list, RemoteAddr(thread.robust_list()),
                 thread.robust_list_size());
    }
    const auto stack = batch.in(as_bytes(thread.alternate_stack()));
    batch.call("sigaltstack", SYS_sigaltstack, stack, nullptr);
    if (thread.rseq_address() != 0) {
      batch.call("rseq", SYS_rseq, RemoteAddr(thread.rseq_address()), thread.rseq_size(), 0,
                 thread.rseq_signature());
    }
    const auto name = batch.in_string(thread.name());
    batch.call("prctl(PR_SET_NAME)", SYS_prctl, PR_SET_NAME, name, 0, 0, 0);
  }
}

NsPid ThreadTable::process() const {
  return table_.has_ended_leader() ? NsPid(table_.ended_leader().id()) : ids_.front();
}

std::optional<FrozenProcess::EndedLeader> ThreadTable::ended_leader() const {
  if (!table_.has_ended_leader()) return std::nullopt;
  const auto& ended = table_.ended_leader();
  return FrozenProcess::EndedLeader{ended.exit_code(), ended.name(), ended.signal_mask()};
}

user_regs_struct ThreadTable::registers(std::size_t index) const {
  user_regs_struct registers{};
  std::memcpy(&registers, table_.threads(static_cast<int>(index)).registers().data(), sizeof registers);
  registers.eflags = (registers.eflags & changeable_flags) | 0x202;
  return registers;
}

AddressRange ThreadTable::alternate_stack(std::size_t index) const {
  stack_t stack{};
  std::memcpy(&stack, table_.threads(static_cast<int>(index)).alternate_stack().data(), sizeof stack);
  if ((stack.ss_flags & SS_DISABLE) != 0) return {};
  const auto start = reinterpret_cast<std::uint64_t>(stack.ss_sp);
  return {start, start + stack.ss_size};
}

std::optional<std::chrono::nanoseconds> ThreadTable::limit_left(std::size_t index) const {
  const auto& thread = table_.threads(static_cast<int>(index));
  if (!thread.has_limit_left_ns()) return std::nullopt;
  return std::chrono::nanoseconds(thread.limit_left_ns());
}

std::optional<std::chrono::nanoseconds> ThreadTable::shortened(std::size_t index) const {
  const auto& thread = table_.threads(static_cast<int>(index));
  if (!thread.has_shortened_ns()) return std::nullopt;
  return std::chrono::nanoseconds(thread.shortened_ns());
}

std::array<std::uint64_t, 3> ThreadTable::known_to_kernel(std::size_t index) const {
  const auto& thread = table_.threads(static_cast<int>(index));
  return {thread.rseq_address(), thread.robust_list(), thread.clear_child_tid()};
}

bool ThreadTable::has_alternate_stack(std::size_t index) const {
  stack_t stack{};
  const auto& bytes = table_.threads(static_cast<int>(index)).alternate_stack();
  std::memcpy(&stack, bytes.data(), std::min(sizeof stack, bytes.size()));
  return (stack.ss_flags & SS_DISABLE) == 0;
}

Status ThreadTable::set_state(std::size_t index, Tid tid, const user_regs_struct& registers) const {
  const auto& thread = table_.threads(static_cast<int>(index));
  const auto failed = [&](const char* what) {
    return Error::from_errno(errno, std::string(what) + " of " + to_string(tid));
  };
  std::string xstate = thread.xstate();
  iovec area{xstate.data(), xstate.size()};
  if (ptrace(PTRACE_SETREGSET, tid.v, NT_X86_XSTATE, &area) != 0) return failed("set the vector registers");
  const std::uint64_t mask = thread.signal_mask();
  if (ptrace(PTRACE_SETSIGMASK, tid.v, sizeof mask, &mask) != 0) return failed("set the signal mask");
  if (ptrace(PTRACE_SETREGS, tid.v, nullptr, &registers) != 0) return failed("set the registers");
  return ok();
}

nlohmann::json ThreadTable::describe() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& thread : table_.threads()) {
    user_regs_struct registers{};
    std::memcpy(&registers, thread.registers().data(), std::min(sizeof registers, thread.registers().size()));
    list.push_back({{"id", thread.id()},
                    {"name", thread.name()},
                    {"instruction_pointer", to_string(RemoteAddr(registers.rip))},
                    {"stack_pointer", to_string(RemoteAddr(registers.rsp))}});
  }
  return list;
}

}  // namespace crs
