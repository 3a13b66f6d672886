// SPDX-License-Identifier: Apache-2.0
// Memory policies: the NUMA nodes on which single mappings were told to have their pages (mbind(2)).
//
// What this file knows
//   A mapping with a policy is never merged with a neighbour that has another, so one question for each
//   mapping is enough. No file of /proc tells policies without counting every page (numa_maps). Like all that
//   only says where something runs, a policy that cannot be had here is a note. Pages that were filled
//   elsewhere are moved (MPOL_MF_MOVE).
// What it leaves to others
//   The policies of threads (scheduling.cc). The home node (set_mempolicy_home_node(2)) cannot be asked for.
//
// Kernel interfaces: get_mempolicy(2) MPOL_F_ADDR, mbind(2).
// Round trip: tests/targets/memory_policies_*.cc
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <span>
#include <vector>

#include "engine/kinds/memory_policies.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::size_t node_bytes = 128;  // 1024 NUMA nodes, the most that x86_64 Linux can be built for
constexpr unsigned long node_bits = node_bytes * 8;

// Code and constants of a file are shared with other processes; nobody binds them.
bool may_have_policy(const Vma& vma) {
  return !vma.name.starts_with("[v") && (vma.write || vma.inode == 0);
}

class MemoryPoliciesKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess& target, Questions& questions) override {
    CallBatch& batch = questions.leader();
    for (const Vma& vma : target.vmas()) {
      if (!may_have_policy(vma)) continue;
      Answer answer{.start = vma.start,
                    .end = vma.end,
                    .mode = batch.out(sizeof(int)),
                    .nodes = batch.out(node_bytes),
                    .call = {}};
      answer.call =
          batch.try_call(SYS_get_mempolicy, answer.mode, answer.nodes, node_bits, vma.start, MPOL_F_ADDR);
      answers_.push_back(answer);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    const CallBatch& batch = context.answers.leader();
    for (const Answer& answer : answers_) {
      if (batch.result(answer.call) != 0) continue;  // ENOSYS: a kernel without NUMA
      const int mode = batch.value<int>(answer.mode);
      if (mode == MPOL_DEFAULT) continue;
      auto& saved = *state_.add_mapping();
      saved.set_start(answer.start);
      saved.set_end(answer.end);
      saved.set_mode(static_cast<std::uint32_t>(mode));
      const auto nodes = batch.bytes(answer.nodes);
      saved.set_nodes(nodes.data(), nodes.size());
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& saved : state_.mapping()) {
      if (saved.start() >= saved.end() || saved.start() % page_size != 0 || saved.end() % page_size != 0)
        return Error(Errc::bad_snapshot, "a NUMA policy of an impossible mapping");
      if (saved.nodes().size() != node_bytes)
        return Error(Errc::bad_snapshot, "an impossible set of NUMA nodes");
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    bool all = true;
    for (const auto& saved : state_.mapping()) {
      if (!works(saved)) {
        all = false;
        continue;
      }
      CallBatch& batch = context.leader();
      batch.call("mbind", SYS_mbind, saved.start(), saved.end() - saved.start(), saved.mode(),
                 batch.in(std::as_bytes(std::span(saved.nodes()))), node_bits + 1, MPOL_MF_MOVE);
    }
    if (!all) context.note("NUMA policies of single mappings cannot be had here");
    return ok();
  }

  nlohmann::json describe() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& saved : state_.mapping()) {
      list.push_back({{"start", to_string(RemoteAddr(saved.start()))},
                      {"end", to_string(RemoteAddr(saved.end()))},
                      {"mode", saved.mode()}});
    }
    return list.empty() ? nlohmann::json() : list;
  }

 private:
  struct Answer {
    std::uint64_t start, end;
    CallBatch::Buffer mode, nodes;
    CallBatch::CallId call;
  };

  // Tries it on a page of our own: what it needs (nodes, cpusets, modes) is the kernel's business.
  static bool works(const state::MemoryPolicy& saved) {
    void* const page = mmap(nullptr, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return false;
    const bool works =
        syscall(SYS_mbind, page, page_size, saved.mode(), saved.nodes().data(), node_bits + 1, 0) == 0;
    munmap(page, page_size);
    return works;
  }

  std::vector<Answer> answers_;
  state::MemoryPolicies state_;
};

}  // namespace

extern constinit const KindInfo kind_memory_policies{
    .section = "memory_policies", .phase = Phase::threads, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<MemoryPoliciesKind>();
    }};

}  // namespace crs
