// SPDX-License-Identifier: Apache-2.0
// Pipes: with and without a name; both ends inside the process, one end that nobody else has, and those that
// lead outside.
//
// What this file knows
//   A pipe is known by its inode (a named one by device and inode); each end may have several descriptions.
//   Content is duplicated by tee(2) into a pipe of ours with as many slots, so the reader loses nothing;
//   packet borders (O_DIRECT) survive that, since read(2) stops at the end of a packet. Whether the other end
//   is open at all is asked of the pipe: poll(2) answers POLLHUP to the last reader and POLLERR to the last
//   writer. A reader of a named pipe to which nobody ever wrote gets no POLLHUP, but tee(2) answers it 0 and
//   not EAGAIN; it must be opened again without a writer, or it would see the end of a writer that never was.
//   An end that is open but not in this process is outside: as standard stream it becomes the restart's own,
//   another number needs --fd at the restart. Where both ends are here, another process may have one as well
//   (a walk over /proc/*/fd as far as we may read it): bytes would go to one or the other, so that is
//   refused. A named pipe is opened again by its path, for reading and writing first, which never waits.
// What it leaves to others
//   Which descriptors share a description (descriptor_table.cc).
//
// Kernel interfaces: pipe(7), fifo(7), tee(2), poll(2), fcntl(2) F_SETPIPE_SZ.   Round trip:
// tests/targets/pipes_*.cc
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "engine/kinds/pipes.pb.h"
#include "engine/obstacles.h"
#include "engine/other_processes.h"
#include "engine/own_stream.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::uint32_t kept_flags =
    O_ACCMODE | O_NONBLOCK | O_DIRECT | O_APPEND | O_LARGEFILE | O_NOFOLLOW | O_NOATIME;
constexpr std::uint32_t settable_flags = O_NONBLOCK | O_DIRECT | O_APPEND | O_NOATIME;
constexpr std::uint64_t largest_pipe = 256u << 20;

bool can_read(std::uint32_t flags) {
  return (flags & O_ACCMODE) != O_WRONLY;
}
bool can_write(std::uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

using Key = std::pair<std::uint64_t, std::uint64_t>;  // device (0 without a name), inode
template <class Message>
Key key_of(const Message& message) {
  return {message.device(), message.inode()};
}

struct Facts {
  bool reader = false, writer = false;  // in this process
  bool other_end_closed = false;        // asked of the pipe, where only one end is here
  bool packet_writer = false;           // O_DIRECT
  bool hung_up = false;                 // some reader was told that the last writer has gone
};

class PipesKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override {
    return S_ISFIFO(file.status.st_mode) && (file.flags & O_PATH) == 0 &&
           (file.path.starts_with("pipe:[") || file.path.starts_with('/'));
  }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    const bool named = file.path.starts_with('/');
    auto& end = *state_.add_ends();
    end.set_id(file.id);
    end.set_inode(file.status.st_ino);
    end.set_device(named ? file.status.st_dev : 0);
    end.set_flags(file.flags & kept_flags);
    end.set_number(file.fds.front().v);
    for (const RemoteFd fd : file.fds) end.add_numbers(fd.v);
    const std::string object = "fd " + std::to_string(end.number()) + " (" + file.path + ")";
    if ((file.flags & O_ASYNC) != 0) {
      context.blockers.add(object, "it sends a signal when it is ready (O_ASYNC)",
                           "this cannot be restored yet");
    }
    if (file.local < 0) return Error(Errc::permission, "cannot get a copy of " + object);
    if (named && !leads_to(file.path, file.status)) {
      const Obstacle why = find_obstacle(file.path).value_or(Obstacle{
          "the named pipe was deleted or renamed while the program has it open", "give it its name back"});
      context.blockers.add(object, why.reason, why.remedy);
    }
    Facts& facts = facts_[key_of(end)];
    facts.reader = facts.reader || can_read(file.flags);
    facts.writer = facts.writer || can_write(file.flags);
    facts.packet_writer = facts.packet_writer || (can_write(file.flags) && (file.flags & O_DIRECT) != 0);
    pollfd ask{file.local, POLLIN | POLLOUT, 0};
    if (poll(&ask, 1, 0) < 0) return Error::from_errno(errno, "poll " + object);
    facts.other_end_closed =
        facts.other_end_closed || (ask.revents & (can_read(file.flags) ? POLLHUP : POLLERR)) != 0;
    facts.hung_up = facts.hung_up || (can_read(file.flags) && (ask.revents & POLLHUP) != 0);
    return collect_pipe(context, file, object, end);
  }

  // After all descriptors: who else has them.
  Status collect(CollectContext& context) override {
    if (facts_.empty()) return ok();
    CRS_TRY(const auto outsiders, find_outsiders(context.target));
    for (auto& pipe : *state_.mutable_pipes()) {
      const Facts& facts = facts_[key_of(pipe)];
      const auto other = outsiders.find(key_of(pipe));
      const bool whole = facts.reader && facts.writer;
      if (other == outsiders.end() && (whole || facts.other_end_closed)) {
        pipe.set_idle(!pipe.path().empty() && !facts.writer && !facts.hung_up && pipe.pieces_size() == 0);
        tell_packets(context, pipe, facts);
        continue;
      }
      pipe.set_leads_outside(true);
      tell_unread(context, pipe);
      pipe.clear_pieces();  // what is in it belongs to both sides; it stays with the other one
      pipe.set_other_side(other != outsiders.end() ? other->second
                                                   : std::string("a process that cannot be looked into"));
      tell_outside(context, pipe, whole);
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& pipe : state_.pipes()) {
      if (pipe.mode() > 07777) return Error(Errc::bad_snapshot, "a pipe has an impossible mode");
      if (pipe.capacity() < page_size || pipe.capacity() > largest_pipe)
        return Error(Errc::bad_snapshot, "a pipe has an impossible size");
      const bool sound = pipe.path().empty()
                             ? pipe.device() == 0
                             : pipe.path()[0] == '/' && pipe.path().find('\0') == std::string::npos;
      if (!sound) return Error(Errc::bad_snapshot, "a named pipe has an impossible path");
    }
    for (const auto& end : state_.ends()) {
      if ((end.flags() & ~kept_flags) != 0 || end.number() < 0 || find_pipe(key_of(end)) == nullptr) {
        return Error(Errc::bad_snapshot, "an end of a pipe is described wrongly");
      }
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    std::set<Key> needed;
    for (const auto& end : state_.ends()) {
      if (context.is_replaced(end.id())) continue;
      const auto& pipe = *find_pipe(key_of(end));
      if (!pipe.leads_outside()) {
        if (!pipe.path().empty()) needed.insert(key_of(pipe));
        continue;
      }
      if (end.number() < 3 && context.options.stdio != StdioMode::saved) {
        tell_of_waiting(context, end);
        continue;
      }
      for (const int number : end.numbers()) {
        if (context.options.fd_paths.contains(number)) continue;
        context.blockers.add(
            "fd " + std::to_string(number) + " (" + name_of(pipe) + ")",
            "its other end was held by " + pipe.other_side() + ", which is not part of the snapshot",
            "give a file, named pipe or device with --fd " + std::to_string(number) + "=PATH");
      }
    }
    return needed.empty() ? ok() : check_named(context, needed);
  }

  Result<OwnedFd> restore_file(InsideContext& context, std::uint32_t id) override {
    const auto end = std::ranges::find_if(state_.ends(), [id](const auto& each) { return each.id() == id; });
    if (end == state_.ends().end()) return Error(Errc::bad_snapshot, "an end of a pipe is missing");
    const auto& pipe = *find_pipe(key_of(*end));
    if (pipe.leads_outside()) return own_stream(context, end->number());
    CRS_TRY(OwnedFd fd, open_end(pipe, *end));
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(end->flags() & settable_flags)) != 0) {
      return Error::from_errno(errno, "set the flags of a pipe");
    }
    return fd;
  }

  nlohmann::json describe() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& pipe : state_.pipes()) {
      std::size_t bytes = 0;
      for (const auto& piece : pipe.pieces()) bytes += piece.size();
      list.push_back({{"inode", pipe.inode()},
                      {"bytes", bytes},
                      {"capacity", pipe.capacity()},
                      {"leads_outside", pipe.leads_outside()}});
      if (!pipe.path().empty()) list.back()["path"] = pipe.path();
      if (!pipe.other_side().empty()) list.back()["other_side"] = pipe.other_side();
    }
    return list;
  }

 private:
  struct Made {
    OwnedFd read, write;  // stay open until the table closes all that is not the program's
    bool read_taken = false, write_taken = false;
  };

  static bool leads_to(const std::string& path, const struct stat& status) {
    struct stat named {};
    return stat(path.c_str(), &named) == 0 && named.st_ino == status.st_ino && named.st_dev == status.st_dev;
  }

  const state::Pipe* find_pipe(const Key& key) const {
    const auto found =
        std::ranges::find_if(state_.pipes(), [&](const auto& pipe) { return key_of(pipe) == key; });
    return found == state_.pipes().end() ? nullptr : &*found;
  }

  // The restart's own stream is shared with whoever gave it, so its flags are not ours to set.
  static void tell_of_waiting(CheckContext& context, const state::PipeEnd& end) {
    const int own = fcntl(end.number(), F_GETFL);
    if ((end.flags() & O_NONBLOCK) == 0 || own < 0 || (own & O_NONBLOCK) != 0) return;
    context.blockers.note(
        "fd " + std::to_string(end.number()) +
        ": the program had made this pipe one that never waits (O_NONBLOCK); what takes its "
        "place is the restart's own stream, and waits");
  }

  static std::string name_of(const state::Pipe& pipe) {
    return pipe.path().empty() ? "pipe:[" + std::to_string(pipe.inode()) + "]" : pipe.path();
  }

  Status collect_pipe(CollectContext& context, const OpenFile& file, const std::string& object,
                      const state::PipeEnd& end) {
    auto found = std::ranges::find_if(*state_.mutable_pipes(),
                                      [&](const auto& pipe) { return key_of(pipe) == key_of(end); });
    state::Pipe* pipe = nullptr;
    if (found != state_.mutable_pipes()->end()) {
      pipe = &*found;
    } else {
      pipe = state_.add_pipes();
      pipe->set_inode(end.inode());
      pipe->set_device(end.device());
      pipe->set_mode(file.status.st_mode & 07777u);
      pipe->set_uid(file.status.st_uid);
      pipe->set_gid(file.status.st_gid);
      if (end.device() != 0) pipe->set_path(file.path);
      const int capacity = fcntl(file.local, F_GETPIPE_SZ);
      if (capacity < 0) return Error::from_errno(errno, "ask for the size of " + object);
      pipe->set_capacity(static_cast<std::uint64_t>(capacity));
    }
    if (!can_read(file.flags) || pipe->pieces_size() != 0) return ok();
    int waiting = 0;
    if (ioctl(file.local, FIONREAD, &waiting) != 0)
      return Error::from_errno(errno, "ask what is in " + object);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error::from_errno(errno, "pipe");
    const OwnedFd out(ends[0]), in(ends[1]);
    if (waiting == 0) {
      Facts& facts = facts_[key_of(end)];
      if (tee(file.local, in.get(), 1, SPLICE_F_NONBLOCK) == 0) facts.other_end_closed = true;
      return ok();
    }
    const bool fits = fcntl(in.get(), F_SETPIPE_SZ, static_cast<int>(pipe->capacity())) >= 0;
    const ssize_t copied = tee(file.local, in.get(), static_cast<std::size_t>(waiting), SPLICE_F_NONBLOCK);
    if (copied != waiting && !fits) {
      context.blockers.add(
          object, "it is larger than this user may make one (" + std::to_string(pipe->capacity()) + " bytes)",
          "raise fs.pipe-max-size, or run crs as root");
      return ok();
    }
    if (copied != waiting) {
      return Error(Errc::kernel, "copied " + std::to_string(copied) + " of " + std::to_string(waiting) +
                                     " bytes of " + object);
    }
    Bytes piece(static_cast<std::size_t>(waiting));
    for (ssize_t left = copied; left > 0;) {
      const ssize_t got = read(out.get(), piece.data(), piece.size());
      if (got <= 0) return Error::from_errno(errno, "read what is in " + object);
      pipe->add_pieces(piece.data(), static_cast<std::size_t>(got));
      left -= got;
    }
    return ok();
  }

  // Plain bytes come in one piece. Several pieces, or a writer in packet mode: packets.
  static void tell_packets(CollectContext& context, state::Pipe& pipe, const Facts& facts) {
    pipe.set_packets(pipe.pieces_size() > 1 || (facts.packet_writer && pipe.pieces_size() > 0));
    const auto is_packet = [](const auto& piece) { return piece.size() <= page_size; };
    if (!pipe.packets() || std::ranges::all_of(pipe.pieces(), is_packet)) return;
    context.blockers.add(name_of(pipe),
                         "it holds packets (O_DIRECT) and other bytes, whose borders cannot be told",
                         "save the program when it has read them");
  }

  // What the program has not read of its standard input. (Of other numbers tell_outside() tells more.)
  void tell_unread(CollectContext& context, const state::Pipe& pipe) const {
    std::size_t bytes = 0;
    for (const auto& piece : pipe.pieces()) bytes += piece.size();
    const bool is_stream = std::ranges::any_of(
        state_.ends(), [&](const auto& end) { return key_of(end) == key_of(pipe) && end.number() < 3; });
    if (bytes == 0 || !is_stream) return;
    context.blockers.note(
        name_of(pipe) + ": " + std::to_string(bytes) +
        " bytes in it that the program has not read yet are not saved; a restart reads on from its "
        "own standard input");
  }

  void tell_outside(CollectContext& context, const state::Pipe& pipe, bool whole) const {
    for (const auto& end : state_.ends()) {
      if (key_of(end) != key_of(pipe) || end.number() < 3) continue;
      const std::string number = std::to_string(end.number());
      const std::string object = "fd " + number + " (" + name_of(pipe) + ")";
      if (whole) {
        context.blockers.add(object,
                             "the program has both ends of it, and " + pipe.other_side() + " has one as well",
                             "end that process, or let one of them close it");
      } else {
        context.blockers.note(object + ": its other end is held by " + pipe.other_side() +
                              "; a restart needs --fd " + number + "=PATH in its place");
      }
    }
  }

  // Pipe -> another process that has it open.
  Result<std::map<Key, std::string>> find_outsiders(const FrozenProcess& target) const {
    std::map<Key, std::string> found;
    std::map<std::string, Key> links;
    for (const auto& pipe : state_.pipes()) links.emplace(name_of(pipe), key_of(pipe));
    CRS_CHECK(see_other_descriptors(target, [&](const OtherDescriptor& other) {
      const auto pipe = links.find(other.link);
      if (pipe != links.end() && !found.contains(pipe->second)) found.emplace(pipe->second, other.process());
    }));
    return found;
  }

  // They must be there, and nobody else may have them: what was in them would come between.
  Status check_named(CheckContext& context, const std::set<Key>& needed) const {
    std::map<std::string, std::string> remedies;
    for (const Key& key : needed) {
      const auto& pipe = *find_pipe(key);
      struct stat now {};
      std::string numbers;
      for (const auto& end : state_.ends()) {
        if (key_of(end) == key)
          numbers += (numbers.empty() ? "--fd " : ", --fd ") + std::to_string(end.number()) + "=PATH";
      }
      if (stat(pipe.path().c_str(), &now) != 0 || !S_ISFIFO(now.st_mode)) {
        context.blockers.add("named pipe " + pipe.path(),
                             "the program has it open, and it is not there any more",
                             "make it again (mkfifo), or give other files with " + numbers);
      } else {
        remedies.emplace(pipe.path(), numbers);
      }
    }
    return see_all_descriptors([&](const OtherDescriptor& other) {
      const auto found = remedies.find(other.link);
      if (found == remedies.end()) return;
      context.blockers.add("named pipe " + other.link,
                           other.process() + " has it open now, and nobody else had at the checkpoint",
                           "end that process, or give other files with " + found->second);
    });
  }

  Result<OwnedFd> open_end(const state::Pipe& pipe, const state::PipeEnd& end) {
    const int access = static_cast<int>(end.flags() & O_ACCMODE);
    // For a reader that never had a writer there must be none.
    if (pipe.idle()) return open_file(pipe.path(), access | O_NONBLOCK | O_NOCTTY);
    CRS_TRY(Made* const made, make(pipe));
    // The first description of each end is the one that pipe(2) made. Others are opened by way of /proc like
    // any named pipe; O_NONBLOCK keeps that from waiting.
    const int base = can_read(end.flags()) ? made->read.get() : made->write.get();
    bool& taken = can_read(end.flags()) ? made->read_taken : made->write_taken;
    if (pipe.path().empty() && access != O_RDWR && !taken) {
      taken = true;
      OwnedFd fd(fcntl(base, F_DUPFD_CLOEXEC, 0));
      if (!fd) return Error::from_errno(errno, "take an end of a pipe");
      return fd;
    }
    return open_file("/proc/self/fd/" + std::to_string(base), access | O_NONBLOCK);
  }

  // Root restarts other people's programs, which open their pipes anew as /dev/fd/N. Without privilege a pipe
  // is ours, whoever made the old one: then more is allowed than before, not less.
  static Status give_back_owner(const state::Pipe& pipe, int fd) {
    struct stat now {};
    if (!pipe.has_mode() || !pipe.has_uid() || !pipe.has_gid()) return ok();
    if (fstat(fd, &now) != 0) return Error::from_errno(errno, "stat of a pipe");
    const bool ours = now.st_uid == pipe.uid() && now.st_gid == pipe.gid();
    if (!ours && fchown(fd, pipe.uid(), pipe.gid()) != 0 && geteuid() == 0) {
      return Error::from_errno(errno, "give back the owner of a pipe");
    }
    if ((now.st_mode & 07777u) != pipe.mode() && fchmod(fd, pipe.mode()) != 0) {
      return Error::from_errno(errno, "chmod of a pipe");
    }
    return ok();
  }

  Result<Made*> make(const state::Pipe& pipe) {
    Made& made = made_[key_of(pipe)];
    if (made.read) return &made;
    if (pipe.path().empty()) {
      int ends[2];
      if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error::from_errno(errno, "pipe");
      made.read = OwnedFd(ends[0]);
      made.write = OwnedFd(ends[1]);
      CRS_CHECK(give_back_owner(pipe, ends[0]));
    } else {
      CRS_TRY(made.read, open_named(pipe.path()));
      CRS_TRY(made.write, open_named(pipe.path()));
    }
    const int size = static_cast<int>(pipe.capacity());
    if (fcntl(made.write.get(), F_GETPIPE_SZ) != size && fcntl(made.write.get(), F_SETPIPE_SZ, size) < 0) {
      return Error::from_errno(errno, "make a pipe of " + std::to_string(pipe.capacity()) + " bytes")
          .with_hint("raise fs.pipe-max-size, or restart as root");
    }
    if (pipe.packets() && fcntl(made.write.get(), F_SETFL, O_NONBLOCK | O_DIRECT) != 0) {
      return Error::from_errno(errno, "set packet mode");
    }
    for (const auto& piece : pipe.pieces()) CRS_CHECK(write_all(made.write.get(), piece, name_of(pipe)));
    return &made;
  }

  static Result<OwnedFd> open_named(const std::string& path) {
    CRS_TRY(OwnedFd fd, open_file(path, O_RDWR | O_NONBLOCK | O_NOCTTY));
    struct stat status {};
    if (fstat(fd.get(), &status) != 0 || !S_ISFIFO(status.st_mode))
      return Error(Errc::refused, path + " is no named pipe any more");
    return fd;
  }

  state::Pipes state_;
  std::map<Key, Facts> facts_;
  std::map<Key, Made> made_;
};

}  // namespace

extern constinit const KindInfo kind_pipes{
    .section = "pipes", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PipesKind>();
    }};

}  // namespace crs
