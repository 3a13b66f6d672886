// SPDX-License-Identifier: Apache-2.0
// Terminals: the program's terminal, which after a restart is that of the restarting shell.
//
// What this file knows
//   Whatever leads to a terminal leads to the restart's own one afterwards: that of the same number if it is
//   one, else any of its standard streams that is one, else /dev/tty. It is opened anew, so that O_NONBLOCK
//   of the program does not leak into the user's shell. Without any terminal, the restart's own stream takes
//   its place. Modes (raw, no echo) are put on the new terminal only if the restart command stays, since it
//   puts them back at the end. A socket or other foreign object as standard stream becomes the restart's own
//   stream as well, with a note.
// What it leaves to others
//   Pipes as standard streams (pipes.cc); job control (the restart command).
//
// Kernel interfaces: tty_ioctl(4), pts(4).   Round trip: tests/targets/terminals_*.cc,
// tests/programs/test_terminal.py
#include <asm/termbits.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/kinds/terminals.pb.h"
#include "engine/own_stream.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::uint32_t kept_flags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_LARGEFILE | O_SYNC;

bool is_terminal(const OpenFile& file) {
  if (!S_ISCHR(file.status.st_mode) || (file.flags & O_PATH) != 0) return false;
  const unsigned kind = major(file.status.st_rdev);
  if (kind == 5) return minor(file.status.st_rdev) != 2;  // /dev/tty, /dev/console; not /dev/ptmx
  return kind == 4 || kind == 3 || (kind >= 136 && kind <= 143);
}

// A standard stream that some other program made for this one.
bool is_foreign_stream(const OpenFile& file) {
  return file.fds.front().v < 3 && S_ISSOCK(file.status.st_mode);
}

class TerminalsKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override { return is_terminal(file) || is_foreign_stream(file); }
  Status collect(CollectContext&) override { return ok(); }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    auto& stream = *state_.add_streams();
    stream.set_id(file.id);
    stream.set_path(file.path);
    stream.set_flags(file.flags & kept_flags);
    stream.set_number(file.fds.front().v);
    stream.set_terminal(is_terminal(file));
    termios modes{};
    if (stream.terminal() && file.local >= 0 && ioctl(file.local, TCGETS, &modes) == 0)
      stream.set_modes(&modes, sizeof modes);
    if (!stream.terminal()) {
      context.blockers.note(
          "fd " + std::to_string(stream.number()) + " (" + file.path +
          ") leads out of the program: after a restart it is the restart command's own stream");
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& stream : state_.streams()) {
      if ((stream.flags() & ~kept_flags) != 0 || stream.number() < 0)
        return Error(Errc::bad_snapshot, "a terminal is described wrongly");
      if (!stream.modes().empty() && stream.modes().size() != sizeof(termios)) {
        return Error(Errc::bad_snapshot, "terminal modes of the wrong size");
      }
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext& context, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.streams(), [id](const auto& stream) { return stream.id() == id; });
    if (found == state_.streams().end()) return Error(Errc::bad_snapshot, "a terminal is missing");
    if (!found->terminal()) return own_stream(context, found->number());
    OwnedFd terminal = open_terminal(context, *found);
    if (!terminal) return own_stream(context, found->number());
    if (context.options.parent_waits && !found->modes().empty()) {
      termios modes{};
      std::memcpy(&modes, found->modes().data(), sizeof modes);
      ioctl(terminal.get(), TCSETS, &modes);  // all signals are blocked: SIGTTOU does not stop us
    }
    return terminal;
  }

  nlohmann::json describe() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& stream : state_.streams())
      list.push_back({{"fd", stream.number()}, {"path", stream.path()}});
    return list;
  }

 private:
  static OwnedFd open_terminal(const InsideContext& context, const state::Stream& stream) {
    const int flags = static_cast<int>(stream.flags()) | O_NOCTTY | O_CLOEXEC;
    std::vector<int> candidates;
    if (stream.number() < 3)
      candidates.push_back(context.own_stdio[static_cast<std::size_t>(stream.number())]);
    candidates.insert(candidates.end(), context.own_stdio.begin(), context.own_stdio.end());
    for (const int own : candidates) {
      if (own < 0 || isatty(own) == 0) continue;
      OwnedFd fresh(open(("/proc/self/fd/" + std::to_string(own)).c_str(), flags));
      if (fresh) return fresh;
      return OwnedFd(fcntl(own, F_DUPFD_CLOEXEC, 3));
    }
    return OwnedFd(open("/dev/tty", flags));
  }

  state::Terminals state_;
};

}  // namespace

extern constinit const KindInfo kind_terminals{
    .section = "terminals", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<TerminalsKind>();
    }};

}  // namespace crs
