// SPDX-License-Identifier: Apache-2.0
// Control page: a program that takes part learns that it was brought back, and is rid of who waited for it.
//
// What this file knows
//   The page is a memory file like any other, and comes back as one (deleted_files.h). In the copy that was
//   saved somebody waits and an answer may be due: both are of the checkpoint that is over.
// What it leaves to others
//   The page itself (gate/control_page.h).
//
// Kernel interfaces: process_vm_writev(2).
// Round trip: tests/api/*.cc
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "engine/kinds/control_page.pb.h"
#include "engine/resource_kind.h"
#include "gate/gate.h"

namespace crs {
namespace {

class ControlPageKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    const std::string name = std::string("/memfd:") + control_name + " (deleted)";
    for (const Vma& vma : context.target.vmas()) {
      if (vma.name != name || !vma.shared || vma.offset != 0 || vma.size() != control_size) continue;
      ControlPage page;
      CRS_CHECK(
          context.target.read_memory(RemoteAddr(vma.start), std::as_writable_bytes(std::span(&page, 1))));
      if (page.magic == control_magic && page.version == control_version) state_.set_address(vma.start);
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }
  Status load(std::string_view bytes) override { return from_section(bytes, state_); }

  Status check(CheckContext& context) override {
    snapshot_ = ControlSnapshot::of(context.snapshot.path(), context.snapshot.manifest());
    return ok();
  }

  // What the page held is in place, as after a restart.
  Status rewind(RewindContext& context) override { return rebuild(context.calls); }

  Status rebuild(RebuildContext& context) override {
    if (state_.address() == 0) return ok();
    ControlPage page;
    const iovec ours{&page, sizeof page};
    const iovec its{reinterpret_cast<void*>(state_.address()), sizeof page};  // NOLINT: an address over there
    if (process_vm_readv(context.pid().v, &ours, 1, &its, 1, 0) != sizeof page)
      return Error::from_errno(errno, "read the control page");
    page.waiting.store(0);
    ++page.restarts;
    snapshot_.write_to(page);
    std::memcpy(page.origin, page.directory, sizeof page.origin);
    if (const Turn turn = turn_of(page); turn != Turn::idle)
      page.turn.store(static_cast<std::uint32_t>(turn == Turn::prepared ? Turn::restarted : Turn::failed));
    page.restarted_session = page.session.exchange(0);
    if (page.answer.load() == static_cast<std::uint32_t>(Answer::asked))
      page.answer.store(static_cast<std::uint32_t>(Answer::restarted));
    if (process_vm_writev(context.pid().v, &ours, 1, &its, 1, 0) != sizeof page)
      return Error::from_errno(errno, "write the control page");
    return ok();
  }

 private:
  state::TakingPart state_;
  ControlSnapshot snapshot_;
};

}  // namespace

extern constinit const KindInfo kind_control_page{
    .section = "control_page", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ControlPageKind>();
    }};

}  // namespace crs
