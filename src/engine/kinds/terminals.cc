// SPDX-License-Identifier: Apache-2.0
// Terminals: the program's terminal, which after a restart is that of the restarting shell.
//
// What this file knows
//   Whatever leads to a terminal leads to the restart's own one afterwards: that of the same number if it is
//   one, else any of its standard streams that is one, else /dev/tty. It is opened anew, so that O_NONBLOCK
//   of the program does not leak into the user's shell. Without any terminal, the restart's own stream takes
//   its place. Modes (raw, no echo) are put on the new terminal only if the restart command stays, since it
//   puts them back at the end. That holds for the program's own terminal: one that is a standard stream, or
//   controls its session, or is /dev/tty. A console (/dev/console, /dev/tty1 to 63) that it has open besides
//   is a device of the machine: it is opened again by its path and gets its modes. Serial lines and other
//   people's terminals are blockers. It is its session's controlling terminal again if it was
//   a console; a program that led a session on any other one joins the session of a restart that has a
//   terminal and waits for it (restoration.h). A socket or other foreign object as standard stream becomes
//   the restart's own stream as well, with a note.
// What it leaves to others
//   Pipes as standard streams (pipes.cc); job control (the restart command).
//
// Kernel interfaces: tty_ioctl(4), pts(4).   Round trip: tests/targets/terminals_*.cc,
// tests/programs/test_terminal.py
#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/kd.h>
#include <linux/vt.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/controlling_terminal.h"
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

// The controlling terminal of the session that it leads, which it opened as a device.
bool leads_console(const FrozenProcess& target, const OpenFile& file) {
  return is_console(file.status.st_rdev) && file.status.st_rdev == controlling_terminal(target.stat()) &&
         target.stat().field(6) == static_cast<std::uint64_t>(target.pid().v);
}

bool is_own_terminal(const FrozenProcess& target, const OpenFile& file) {
  const std::uint64_t device = file.status.st_rdev;
  if (file.fds.front().v < 3 || device == makedev(5, 0)) return true;
  for (const char* stream : {"fd/0", "fd/1", "fd/2"}) {
    struct stat status {};
    if (fstatat(target.proc().fd(), stream, &status, 0) == 0 && S_ISCHR(status.st_mode) &&
        status.st_rdev == device)
      return true;
  }
  return device == controlling_terminal(target.stat()) && !leads_console(target, file);
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
    if (stream.terminal() && !is_own_terminal(context.target, file)) {
      stream.set_device(file.status.st_rdev);
      stream.set_controlling(leads_console(context.target, file));
      check_device(context, file);
    }
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
      if (stream.device() != 0 &&
          (!is_console(stream.device()) || stream.path().empty() || stream.path()[0] != '/' ||
           stream.path().find('\0') != std::string::npos)) {
        return Error(Errc::bad_snapshot, "a console is described wrongly");
      }
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    for (const auto& stream : state_.streams()) {
      if (is_saved_stream(context.options, stream) && !context.is_replaced(stream.id()))
        check_saved(context, stream);
      if (stream.device() == 0 || context.is_replaced(stream.id()) ||
          is_device(stream.path(), stream.device()))
        continue;
      context.blockers.add(stream.path(), "the program has this console open, and it is not there any more",
                           "put it back");
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext& context, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.streams(), [id](const auto& stream) { return stream.id() == id; });
    if (found == state_.streams().end()) return Error(Errc::bad_snapshot, "a terminal is missing");
    if (is_saved_stream(context.options, *found)) {
      return open_file(found->path(), static_cast<int>(found->flags()) | O_NOCTTY);
    }
    if (!found->terminal()) return own_stream(context, found->number());
    if (found->device() != 0) return open_console(*found);
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
  // --stdio saved: the terminal it was, not the one of the restart.
  static bool is_saved_stream(const RestoreOptions& options, const state::Stream& stream) {
    return options.stdio == StdioMode::saved && stream.number() < 3 && stream.device() == 0;
  }

  static void check_saved(CheckContext& context, const state::Stream& stream) {
    struct stat status {};
    const int wanted = (stream.flags() & O_ACCMODE) == O_RDONLY ? R_OK : W_OK;
    if (stream.terminal() && stat(stream.path().c_str(), &status) == 0 && S_ISCHR(status.st_mode) &&
        access(stream.path().c_str(), wanted) == 0)
      return;
    const std::string number = std::to_string(stream.number());
    context.blockers.add("fd " + number + " (" + stream.path() + ")",
                         stream.terminal() ? "this terminal cannot be opened any more"
                                           : "it led out of the program, to what is not part of the snapshot",
                         "give a file with --fd " + number + "=PATH, or restart without --stdio saved");
  }

  static bool is_device(const std::string& path, std::uint64_t device) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == device;
  }

  static void check_device(CollectContext& context, const OpenFile& file) {
    const std::string name = "fd " + std::to_string(file.fds.front().v) + " (" + file.path + ")";
    const std::string close_it = "let the program close it before the checkpoint";
    if (!is_console(file.status.st_rdev)) {
      return context.blockers.add(name, "it is a terminal, but not the program's own", close_it);
    }
    if (!is_device(file.path, file.status.st_rdev)) {
      return context.blockers.add(name, "the console was deleted or renamed while the program has it open",
                                  close_it);
    }
    if (file.local < 0) return;
    int value = 0;
    vt_mode switching{};
    const bool special = (ioctl(file.local, TIOCGETD, &value) == 0 && value != 0) ||
                         (ioctl(file.local, TIOCGEXCL, &value) == 0 && value != 0) ||
                         (ioctl(file.local, KDGETMODE, &value) == 0 && value != KD_TEXT) ||
                         (ioctl(file.local, VT_GETMODE, &switching) == 0 && switching.mode != VT_AUTO);
    if (special) {
      context.blockers.add(
          name, "the console is in graphics mode, taken exclusively, or has a line discipline of its own",
          close_it);
    }
  }

  // Without waiting for a carrier, and with the modes that it had.
  static Result<OwnedFd> open_console(const state::Stream& stream) {
    const int flags = static_cast<int>(stream.flags());
    CRS_TRY(OwnedFd console, open_file(stream.path(), flags | O_NOCTTY | O_NONBLOCK));
    struct stat status {};
    if (fstat(console.get(), &status) != 0 || !S_ISCHR(status.st_mode) || status.st_rdev != stream.device()) {
      return Error(Errc::refused, stream.path() + " is another device now");
    }
    // We lead a session by now if the process did.
    if (stream.controlling() && ioctl(console.get(), TIOCSCTTY, 0) != 0) {
      return Error::from_errno(errno, "make " + stream.path() + " the controlling terminal again")
          .with_hint("end what uses this console, or give another file with --fd N=PATH");
    }
    if (fcntl(console.get(), F_SETFL, flags) != 0)
      return Error::from_errno(errno, "set the flags of " + stream.path());
    if (!stream.modes().empty()) {
      termios saved{}, now{};
      std::memcpy(&saved, stream.modes().data(), sizeof saved);
      const bool same = ioctl(console.get(), TCGETS, &now) == 0 && std::memcmp(&saved, &now, sizeof now) == 0;
      if (!same && ioctl(console.get(), TCSETS, &saved) != 0) {
        return Error::from_errno(errno, "set the modes of " + stream.path());
      }
    }
    return console;
  }

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
