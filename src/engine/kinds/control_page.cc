// SPDX-License-Identifier: Apache-2.0
// Control page: a program that takes part learns that it was brought back, and is rid of who waited for it.
//
// What this file knows
//   The page is a memory file like any other, and comes back as one (deleted_files.h). In the copy that was
//   saved somebody waits and an answer may be due: both are of the checkpoint that is over.
//   What the program rebuilds itself is rebuilt by a thread of its libcrs, before any other runs: that thread
//   gets the turn "rebuild" and gives it away when it is done.
// What it leaves to others
//   The page itself (gate/control_page.h).
//
// Kernel interfaces: process_vm_writev(2).
// Round trip: tests/api/*.cc
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>

#include "engine/kinds/control_page.pb.h"
#include "engine/resource_kind.h"
#include "gate/gate.h"
#include "gate/program_text.h"
#include "os/futex.h"

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
      if (page.magic != control_magic || page.version != control_version) continue;
      state_.set_address(vma.start);
      state_.set_variables(page.variables);
      state_.set_variables_bytes(page.variables_bytes);
    }
    if (state_.address() != 0) state_.set_rebuilder(context.rebuilder.v);
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }
  Status load(std::string_view bytes) override { return from_section(bytes, state_); }

  Status check(CheckContext& context) override {
    snapshot_ = ControlSnapshot::of(context.snapshot.path(), context.snapshot.manifest());
    if (context.options.variables.empty()) return ok();
    if (state_.variables_bytes() == 0) {
      context.blockers.add(
          "environment variables (--env)",
          "this program's environment is in its memory and comes back with it, and it takes no "
          "part (libcrs) to be told of another",
          "restart it without --env");
    } else if (const std::size_t needed = text_of(context.options.variables).size();
               needed > state_.variables_bytes()) {
      context.blockers.add("environment variables (--env)",
                           "they take " + std::to_string(needed) + " bytes, and the program has room for " +
                               std::to_string(state_.variables_bytes()),
                           "hand over fewer, or the name of a file");
    }
    return ok();
  }

  Result<bool> can_rewind_from(std::string_view now) const override {
    state::TakingPart its;
    CRS_CHECK(from_section(now, its));
    return its.address() == state_.address();
  }
  // What the page held is in place, as after a restart.
  Status rewind(RewindContext& context) override { return rebuild(context.calls); }

  Status rebuild(RebuildContext& context) override {
    if (state_.address() == 0) return ok();
    CRS_CHECK(hand_over_variables(context));
    ControlPage page;
    const iovec ours{&page, sizeof page};
    const iovec its{reinterpret_cast<void*>(state_.address()), sizeof page};  // NOLINT: an address over there
    if (process_vm_readv(context.pid().v, &ours, 1, &its, 1, 0) != sizeof page)
      return Error::from_errno(errno, "read the control page");
    page.gate.store(gate_word::open(page.gate.load()));
    page.unused.store(0);
    ++page.restarts;
    snapshot_.write_to(page);
    std::memcpy(page.origin, page.directory, sizeof page.origin);
    if (const Turn turn = turn_of(page); turn != Turn::idle)
      page.turn.store(static_cast<std::uint32_t>(turn == Turn::prepared ? Turn::restarted : Turn::failed));
    if (state_.rebuilder() != 0) CRS_CHECK(rebuild_memory(context, page));
    page.restarted_session = page.session.exchange(0);
    if (page.answer.load() == static_cast<std::uint32_t>(Answer::asked))
      page.answer.store(static_cast<std::uint32_t>(Answer::restarted));
    if (process_vm_writev(context.pid().v, &ours, 1, &its, 1, 0) != sizeof page)
      return Error::from_errno(errno, "write the control page");
    return ok();
  }

 private:
  static std::string text_of(const std::vector<std::string>& variables) {
    std::string text;
    for (const std::string& variable : variables) text.append(variable).push_back('\0');
    text.push_back('\0');
    return text;
  }

  // Those of an earlier restart are gone.
  Status hand_over_variables(const RebuildContext& context) const {
    if (state_.variables_bytes() == 0) return ok();
    std::string text = text_of(context.options().variables);
    const iovec ours{text.data(), text.size()};
    const iovec its{reinterpret_cast<void*>(state_.variables()),
                    text.size()};  // NOLINT: an address over there
    if (process_vm_writev(context.pid().v, &ours, 1, &its, 1, 0) != static_cast<ssize_t>(text.size()))
      return Error::from_errno(errno, "hand over the environment variables");
    return ok();
  }

  Status rebuild_memory(RebuildContext& context, ControlPage& page) {
    const NsPid rebuilder(state_.rebuilder());
    if (std::ranges::find(context.threads(), rebuilder) == context.threads().end())
      return Error(Errc::bad_snapshot, "the thread that rebuilds memory is missing");
    CRS_TRY(mapping_, find_control_page(context.pid()));
    if (!mapping_ || mapping_->page().identity != page.identity)
      return Error(Errc::bad_snapshot, "the control page is not among the program's descriptors");
    page.after_rebuild = page.turn.exchange(static_cast<std::uint32_t>(Turn::rebuild));
    page.rebuilding[0] = '\0';
    context.let_run_first(
        {.thread = rebuilder,
         .wait = [this] { return await_rebuilt(); },
         .doing =
             [this] { return "rebuilding its memory '" + program_text(mapping_->page().rebuilding) + "'"; }});
    return ok();
  }

  Result<bool> await_rebuilt() {
    ControlPage& page = mapping_->page();
    constexpr timespec interval{0, 5'000'000};
    if (turn_of(page) == Turn::rebuild)
      sleep_while(page.turn, static_cast<std::uint32_t>(Turn::rebuild), &interval);
    const Turn now = turn_of(page);
    if (now == Turn::refused) return Error(Errc::refused, program_text(page.message));
    if (now == Turn::rebuild) return false;
    mapping_.reset();  // who stays with the process must not share memory with it
    return true;
  }

  state::TakingPart state_;
  std::optional<ControlMapping> mapping_;
  ControlSnapshot snapshot_;
};

}  // namespace

extern constinit const KindInfo kind_control_page{
    .section = "control_page", .phase = Phase::last, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<ControlPageKind>();
    }};

}  // namespace crs
