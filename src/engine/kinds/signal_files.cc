// SPDX-License-Identifier: Apache-2.0
// Signal files (signalfd): which signals they tell of.
//
// What this file knows
//   fdinfo tells the set. Nothing else is in such a file: a read takes signals from the queues of the thread
//   that reads, so that one which another process holds as well is no channel between the two.
// What it leaves to others
//   The signals that wait (pending_signals.cc), and that they are blocked (thread_table.h). Who waits for it:
//   a waiting thread makes its call again (interrupted_calls.h), an epoll watches it (event_polls.cc).
//
// Kernel interfaces: signalfd(2), proc(5) fdinfo.   Round trip: tests/targets/signal_files_*.cc
#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "engine/kinds/signal_files.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

class SignalFilesKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override { return file.path == "anon_inode:[signalfd]"; }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    const std::string object = "fd " + std::to_string(file.fds.front().v) + " (signalfd)";
    const auto signals = ProcFields::parse(file.fdinfo).number("sigmask", 16);
    if (!signals) {
      context.blockers.add(object, "this kernel does not tell of which signals it tells",
                           "use a kernel with CONFIG_PROC_FS");
      return ok();
    }
    if ((file.flags & ~std::uint32_t{O_RDWR | O_NONBLOCK}) != 0) {
      context.blockers.add(object, "it has file status flags that cannot be restored yet",
                           "let the program clear them");
    }
    auto& saved = *state_.add_files();
    saved.set_id(file.id);
    saved.set_signals(*signals);
    saved.set_flags(file.flags & O_NONBLOCK);
    return ok();
  }

  Status collect(CollectContext&) override { return ok(); }
  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& file : state_.files()) {
      if ((file.flags() & ~std::uint32_t{O_NONBLOCK}) != 0)
        return Error(Errc::bad_snapshot, "a signal file is described wrongly");
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.files(), [id](const auto& each) { return each.id() == id; });
    if (found == state_.files().end()) return Error(Errc::bad_snapshot, "a signal file is missing");
    // The kernel's own set, which has the signals that the C library keeps to itself.
    const std::uint64_t signals = found->signals();
    OwnedFd fd(static_cast<int>(syscall(SYS_signalfd4, -1, &signals, sizeof signals,
                                        SFD_CLOEXEC | static_cast<int>(found->flags()))));
    if (!fd) return Error::from_errno(errno, "signalfd4");
    return fd;
  }

  nlohmann::json describe() const override {
    if (state_.files().empty()) return nullptr;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& file : state_.files())
      list.push_back({{"description", file.id()}, {"signals", file.signals()}});
    return list;
  }

 private:
  state::SignalFiles state_;
};

}  // namespace

extern constinit const KindInfo kind_signal_files{
    .section = "signal_files", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<SignalFilesKind>();
    }};

}  // namespace crs
