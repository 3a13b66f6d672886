// SPDX-License-Identifier: Apache-2.0
// Protection keys: the keys that pkey_alloc(2) gave the process.
//
// What this file knows
//   Nothing lists them. pkey_mprotect(2) of a range where nothing can be mapped answers EINVAL for a key that
//   is not allocated and ENOMEM for one that is, and changes nothing either way. Key 0 always is, where keys
//   exist at all. crs does not restore keys yet: mappings would come back open to everyone who holds no key,
//   so they are a blocker.
//
// Kernel interfaces: pkeys(7).
#include <sys/mman.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>

#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::size_t keys = 16;  // x86_64
// Just above all user space, whatever the number of page table levels asked for; also under linear address
// masking.
constexpr std::uint64_t never_mapped = std::uint64_t{1} << 47;

class ProtectionKeysKind : public ResourceKind {
 public:
  Status ask(const FrozenProcess&, Questions& questions) override {
    for (std::size_t key = 1; key < keys; ++key) {
      answers_[key] = questions.leader().try_call(SYS_pkey_mprotect, never_mapped, page_size, PROT_NONE, key);
    }
    return ok();
  }

  Status collect(CollectContext& context) override {
    for (std::size_t key = 1; key < keys; ++key) {
      if (context.answers.leader().result(answers_[key]) != -ENOMEM) continue;
      context.blockers.add("memory protection key " + std::to_string(key),
                           "the program allocated it with pkey_alloc(2)",
                           "crs cannot save such programs yet");
    }
    return ok();
  }

  Result<std::string> save() const override { return std::string(); }
  Status load(std::string_view) override { return ok(); }

 private:
  std::array<CallBatch::CallId, keys> answers_{};
};

}  // namespace

extern constinit const KindInfo kind_protection_keys{
    .section = "protection_keys", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ProtectionKeysKind>();
    }};

}  // namespace crs
