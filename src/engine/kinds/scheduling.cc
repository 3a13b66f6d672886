// SPDX-License-Identifier: Apache-2.0
// Scheduling: when, where and how favoured each thread runs.
//
// What this file knows
//   Policy, priority, nice value, CPUs and I/O priority are read and set from outside by thread id, so that
//   every refusal is seen. Favours need privilege (CAP_SYS_NICE, RLIMIT_NICE, RLIMIT_RTPRIO); CPUs may not
//   exist here. All of it is advice to the machine: what cannot be had is a note, never a failure. A thread
//   that may use every CPU there is was not bound, and is not bound to their number on another machine. Since
//   Linux 6.12 sched_getattr(2) tells the time slice of ordinary threads as well; setting it makes it fixed,
//   so only one that differs from ours is set. SCHED_DEADLINE refuses any CPU mask but the whole, so CPUs are
//   set first. The NUMA policy is set from inside.
// What it leaves to others
//   Timer slack (process_attributes.cc); NUMA policies of mappings
//   (memory_policies.cc). The autogroup belongs to the session.
//
// Kernel interfaces: sched_setattr(2), setpriority(2), sched_setaffinity(2), ioprio_set(2), set_mempolicy(2).
// Round trip: tests/targets/scheduling_*.cc
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "engine/kinds/scheduling.pb.h"
#include "engine/resource_kind.h"
#include "engine/saved_threads.h"

namespace crs {
namespace {

constexpr std::size_t cpu_bytes = 1024;  // 8192 CPUs, the most that x86_64 Linux can be built for
constexpr std::size_t node_bytes = 128;  // 1024 NUMA nodes, likewise
constexpr std::uint32_t io_class_shift = 13;
constexpr std::uint32_t clamp_top = 1024;

// The kernel's struct sched_attr; its own header cannot be included beside the C library's.
struct sched_attr {
  std::uint32_t size = 0;
  std::uint32_t sched_policy = 0;
  std::uint64_t sched_flags = 0;
  std::int32_t sched_nice = 0;
  std::uint32_t sched_priority = 0;
  std::uint64_t sched_runtime = 0, sched_deadline = 0, sched_period = 0;  // nanoseconds
  std::uint32_t sched_util_min = 0, sched_util_max = 0;
};
static_assert(sizeof(sched_attr) == 56);
constexpr std::uint32_t attr_size_without_clamps = 48;  // SCHED_ATTR_SIZE_VER0

using CpuSet = std::array<std::uint8_t, cpu_bytes>;

bool is_realtime(std::uint32_t policy) {
  return policy == 1 /* SCHED_FIFO */ || policy == 2 /* SCHED_RR */;
}

Result<sched_attr> read_attributes(Tid tid) {
  sched_attr attributes{};
  if (syscall(SYS_sched_getattr, tid.v, &attributes, sizeof attributes, 0) != 0) {
    return Error::from_errno(errno, "sched_getattr of " + to_string(tid));
  }
  return attributes;
}

Result<CpuSet> read_cpus(Tid tid) {
  CpuSet cpus{};
  if (syscall(SYS_sched_getaffinity, tid.v, cpus.size(), cpus.data()) < 0) {
    return Error::from_errno(errno, "sched_getaffinity of " + to_string(tid));
  }
  return cpus;
}

// Bits as a list: "0-3,8".
std::string to_list(std::string_view bits) {
  std::string text;
  const auto has = [&](std::size_t i) {
    return i / 8 < bits.size() && (static_cast<std::uint8_t>(bits[i / 8]) >> (i % 8) & 1) != 0;
  };
  for (std::size_t i = 0; i < bits.size() * 8; ++i) {
    if (!has(i)) continue;
    std::size_t last = i;
    while (has(last + 1)) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(i);
    if (last > i) text.append("-").append(std::to_string(last));
    i = last;
  }
  return text;
}

std::string trimmed(std::span<const std::uint8_t> bits) {
  std::string text(bits.begin(), bits.end());
  while (text.ends_with('\0')) text.pop_back();
  return text;
}

// All CPUs that a thread in our cpuset can be given. Asked by giving them to this thread for a moment.
Result<CpuSet> widest_cpus() {
  CRS_TRY(const CpuSet ours, read_cpus(Tid(0)));
  CpuSet all{};
  all.fill(0xff);
  if (syscall(SYS_sched_setaffinity, 0, all.size(), all.data()) != 0) return ours;
  auto widest = read_cpus(Tid(0));
  if (syscall(SYS_sched_setaffinity, 0, ours.size(), ours.data()) != 0) {
    return Error::from_errno(errno, "sched_setaffinity");
  }
  return widest;
}

class SchedulingKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    for (const FrozenThread& thread : target.threads()) {
      CallBatch& batch = questions.thread(thread.ns_tid);
      MemoryAnswer answer{.mode = batch.out(sizeof(int)), .nodes = batch.out(node_bytes), .call = {}};
      answer.call = batch.try_call(SYS_get_mempolicy, answer.mode, answer.nodes, node_bytes * 8, 0, 0);
      memory_.push_back(answer);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    CRS_TRY(const sched_attr ours, read_attributes(Tid(0)));
    CRS_TRY(const CpuSet widest, widest_cpus());
    const auto threads = context.target.threads();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      auto& saved = *state_.add_thread();
      saved.set_thread(threads[i].ns_tid.v);
      CRS_CHECK(collect_attributes(threads[i].tid, ours, saved));
      CRS_TRY(const CpuSet cpus, read_cpus(threads[i].tid));
      if (cpus != widest) saved.set_cpus(trimmed(cpus));
      if (const long io = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, threads[i].tid.v); io > 0) {
        saved.set_io_priority(static_cast<std::uint32_t>(io));
      }
      const CallBatch& batch = context.answers.thread(threads[i].ns_tid);
      if (batch.result(memory_[i].call) != 0) continue;  // ENOSYS: a kernel without NUMA
      saved.set_memory_mode(static_cast<std::uint32_t>(batch.value<int>(memory_[i].mode)));
      const auto nodes = batch.bytes(memory_[i].nodes);
      saved.set_memory_nodes(trimmed({reinterpret_cast<const std::uint8_t*>(nodes.data()), nodes.size()}));
    }
    if (const auto group = context.target.proc().read("autogroup"); group && !group->ends_with(" nice 0\n")) {
      context.blockers.note("the nice value of the session's autogroup is not saved (" +
                            group->substr(0, group->find('\n')) + ")");
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    CRS_CHECK(check_thread_ids(state_.thread()));
    for (const auto& thread : state_.thread()) {
      if (thread.nice() < -20 || thread.nice() > 19)
        return Error(Errc::bad_snapshot, "an impossible nice value");
      if (thread.cpus().size() > cpu_bytes || thread.memory_nodes().size() > node_bytes) {
        return Error(Errc::bad_snapshot, "an impossible set of CPUs or nodes");
      }
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    Notes notes;
    CRS_TRY(const sched_attr ours, read_attributes(Tid(0)));
    for (const auto& thread : state_.thread()) {
      CRS_TRY(CallBatch * batch, batch_of(context, NsPid(thread.thread())));
      const Tid tid = context.host_tid(NsPid(thread.thread()));
      rebuild_cpus(tid, thread, notes);
      rebuild_attributes(tid, thread, ours, notes);
      rebuild_io_priority(tid, thread, notes);
      rebuild_memory_policy(*batch, thread, notes);
    }
    for (const std::string& text : notes) context.note(text);
    return ok();
  }

  nlohmann::json describe() const override {
    nlohmann::json json = nlohmann::json::object();
    for (const auto& thread : state_.thread()) {
      nlohmann::json entry{{"policy", thread.policy()}, {"nice", thread.nice()}};
      if (thread.priority() != 0) entry["priority"] = thread.priority();
      if (!thread.cpus().empty()) entry["cpus"] = to_list(thread.cpus());
      if (thread.io_priority() != 0) entry["io_priority"] = thread.io_priority();
      if (thread.memory_mode() != 0) entry["memory_policy"] = thread.memory_mode();
      json[std::to_string(thread.thread())] = entry;
    }
    return json;
  }

 private:
  struct MemoryAnswer {
    CallBatch::Buffer mode, nodes;
    CallBatch::CallId call;
  };
  using Notes = std::set<std::string>;  // the same words for many threads are said once

  static Status collect_attributes(Tid tid, const sched_attr& ours, state::ThreadScheduling& saved) {
    CRS_TRY(const sched_attr attributes, read_attributes(tid));
    saved.set_policy(attributes.sched_policy);
    errno = 0;
    const int nice =
        getpriority(PRIO_PROCESS, static_cast<id_t>(tid.v));  // known under a real-time policy as well
    if (nice == -1 && errno != 0) return Error::from_errno(errno, "getpriority of " + to_string(tid));
    saved.set_nice(nice);
    saved.set_priority(attributes.sched_priority);
    saved.set_reset_on_fork((attributes.sched_flags & SCHED_FLAG_RESET_ON_FORK) != 0);
    if (attributes.sched_policy == SCHED_DEADLINE) {
      saved.set_flags(attributes.sched_flags & (SCHED_FLAG_RECLAIM | SCHED_FLAG_DL_OVERRUN));
      saved.set_runtime_ns(attributes.sched_runtime);
      saved.set_deadline_ns(attributes.sched_deadline);
      saved.set_period_ns(attributes.sched_period);
    } else if (attributes.sched_runtime != ours.sched_runtime) {
      saved.set_runtime_ns(attributes.sched_runtime);
    }
    // Without utilisation clamps in the kernel both are 0.
    const std::uint32_t usual_min = is_realtime(attributes.sched_policy) ? clamp_top : 0;
    if (attributes.sched_util_max != 0 &&
        (attributes.sched_util_min != usual_min || attributes.sched_util_max != clamp_top)) {
      saved.set_clamp_min(attributes.sched_util_min);
      saved.set_clamp_max(attributes.sched_util_max);
    }
    return ok();
  }

  static void rebuild_cpus(Tid tid, const state::ThreadScheduling& saved, Notes& notes) {
    if (saved.cpus().empty()) return;
    CpuSet wanted{};
    std::ranges::copy(saved.cpus(), wanted.begin());
    const bool set = syscall(SYS_sched_setaffinity, tid.v, wanted.size(), wanted.data()) == 0;
    const auto got = read_cpus(tid);
    if (set && got && *got == wanted) return;
    notes.insert("bound to CPUs " + to_list(saved.cpus()) + ", of which not all can be used here: now on " +
                 (got ? to_list(trimmed(*got)) : std::string("any")));
  }

  static void rebuild_attributes(Tid tid, const state::ThreadScheduling& saved, const sched_attr& ours,
                                 Notes& notes) {
    // The nice value on its own first: it is kept under every policy, sched_setattr(2) takes it only for
    // some.
    if (setpriority(PRIO_PROCESS, static_cast<id_t>(tid.v), saved.nice()) != 0) {
      const int error = errno;
      notes.insert("nice value " + std::to_string(saved.nice()) +
                   " cannot be had: " + Error::from_errno(error, "setpriority").to_string());
    }
    errno = 0;
    const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(tid.v));
    sched_attr wanted{};
    wanted.size = sizeof wanted;
    wanted.sched_policy = saved.policy();
    wanted.sched_flags = saved.flags() | (saved.reset_on_fork() ? SCHED_FLAG_RESET_ON_FORK : 0);
    wanted.sched_nice = nice;
    wanted.sched_priority = saved.priority();
    wanted.sched_runtime = saved.runtime_ns();
    wanted.sched_deadline = saved.deadline_ns();
    wanted.sched_period = saved.period_ns();
    if (saved.has_clamp_min() || saved.has_clamp_max()) {
      wanted.sched_flags |= SCHED_FLAG_UTIL_CLAMP;
      wanted.sched_util_min = saved.clamp_min();
      wanted.sched_util_max = saved.clamp_max();
    } else {
      wanted.size = attr_size_without_clamps;
    }
    const bool like_ours =
        wanted.sched_policy == ours.sched_policy && wanted.sched_priority == ours.sched_priority &&
        wanted.sched_flags == (ours.sched_flags & SCHED_FLAG_RESET_ON_FORK) && wanted.sched_runtime == 0;
    if (like_ours) return;
    if (syscall(SYS_sched_setattr, tid.v, &wanted, 0) == 0) return;
    const int error = errno;
    notes.insert("scheduling policy " + std::to_string(saved.policy()) + " with priority " +
                 std::to_string(saved.priority()) +
                 " cannot be had: " + Error::from_errno(error, "sched_setattr").to_string());
  }

  static void rebuild_io_priority(Tid tid, const state::ThreadScheduling& saved, Notes& notes) {
    const long now = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid.v);
    if (now >= 0 && static_cast<std::uint32_t>(now) == saved.io_priority()) return;
    if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid.v, saved.io_priority()) == 0) return;
    const int error = errno;
    notes.insert("I/O priority class " + std::to_string(saved.io_priority() >> io_class_shift) +
                 " cannot be had: " + Error::from_errno(error, "ioprio_set").to_string());
  }

  static void rebuild_memory_policy(CallBatch& batch, const state::ThreadScheduling& saved, Notes& notes) {
    if (saved.memory_mode() == MPOL_DEFAULT) return;
    std::array<std::byte, node_bytes> nodes{};
    std::memcpy(nodes.data(), saved.memory_nodes().data(), saved.memory_nodes().size());
    if (!memory_policy_works(saved.memory_mode(), nodes)) {
      notes.insert("the NUMA policy for nodes " + to_list(saved.memory_nodes()) + " cannot be had here");
      return;
    }
    batch.call("set_mempolicy", SYS_set_mempolicy, saved.memory_mode(), batch.in(nodes), node_bytes * 8 + 1);
  }

  // Tries it on ourselves: what it needs (nodes, cpusets, modes) is the kernel's business.
  static bool memory_policy_works(std::uint32_t mode, const std::array<std::byte, node_bytes>& nodes) {
    int our_mode = 0;
    std::array<std::byte, node_bytes> our_nodes{};
    if (syscall(SYS_get_mempolicy, &our_mode, our_nodes.data(), node_bytes * 8, 0, 0) != 0) return false;
    const bool works = syscall(SYS_set_mempolicy, mode, nodes.data(), node_bytes * 8 + 1) == 0;
    if (works) syscall(SYS_set_mempolicy, our_mode, our_nodes.data(), node_bytes * 8 + 1);
    return works;
  }

  std::vector<MemoryAnswer> memory_;
  state::Scheduling state_;
};

}  // namespace

extern constinit const KindInfo kind_scheduling{
    .section = "scheduling", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<SchedulingKind>();
    }};

}  // namespace crs
