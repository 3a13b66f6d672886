// SPDX-License-Identifier: Apache-2.0
// Pipes: with both ends inside the process, and standard streams that lead outside.
//
// What this file knows
//   A pipe is known by its inode; each end may have several descriptions. Content is duplicated by tee(2)
//   into a pipe of ours with as many slots, so the reader loses nothing; packet borders (O_DIRECT) survive
//   that. Whether the other end is open at all is asked of the pipe: poll(2) answers POLLHUP to the last
//   reader and POLLERR to the last writer. An end that is open but not in this process is outside: as
//   standard stream it becomes the restart's own, else it is a blocker. An end that another process shares
//   with this one is found by a walk over /proc/*/fd as far as we may read it.
// What it leaves to others
//   Named pipes (FIFOs), which nobody claims yet.
//
// Kernel interfaces: pipe(7), tee(2), fcntl(2) F_SETPIPE_SZ.   Round trip: tests/targets/pipes_*.cc
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "engine/kinds/pipes.pb.h"
#include "engine/other_processes.h"
#include "engine/own_stream.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::uint32_t kept_flags = O_ACCMODE | O_NONBLOCK | O_DIRECT | O_APPEND | O_LARGEFILE;
constexpr std::uint64_t largest_pipe = 256u << 20;

bool can_read(std::uint32_t flags) {
  return (flags & O_ACCMODE) != O_WRONLY;
}
bool can_write(std::uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

struct Facts {
  bool reader = false, writer = false;  // in this process
  bool other_end_closed = false;        // asked of the pipe, where only one end is here
  std::vector<std::string> objects;     // "fd 5 (pipe:[..])" of ends that are no standard streams
};

class PipesKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override {
    return file.path.starts_with("pipe:[") && (file.flags & O_PATH) == 0;
  }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    auto& end = *state_.add_ends();
    end.set_id(file.id);
    end.set_inode(file.status.st_ino);
    end.set_flags(file.flags & kept_flags);
    end.set_number(file.fds.front().v);
    Facts& facts = facts_[file.status.st_ino];
    facts.reader = facts.reader || can_read(file.flags);
    facts.writer = facts.writer || can_write(file.flags);
    const std::string object = "fd " + std::to_string(end.number()) + " (" + file.path + ")";
    if (end.number() > 2) facts.objects.push_back(object);
    if ((file.flags & O_ASYNC) != 0)
      context.blockers.add(object, "it sends a signal when it is ready (O_ASYNC)",
                           "this cannot be restored yet");
    if (file.local < 0) return Error(Errc::permission, "cannot get a copy of " + object);
    pollfd ask{file.local, POLLIN | POLLOUT, 0};
    if (poll(&ask, 1, 0) < 0) return Error::from_errno(errno, "poll " + object);
    facts.other_end_closed = (ask.revents & (can_read(file.flags) ? POLLHUP : POLLERR)) != 0;
    return collect_pipe(context, file, object);
  }

  // After all descriptors: who else has them.
  Status collect(CollectContext& context) override {
    if (facts_.empty()) return ok();
    CRS_TRY(const auto outsiders, find_outsiders(context.target));
    for (auto& pipe : *state_.mutable_pipes()) {
      const Facts& facts = facts_[pipe.inode()];
      const auto other = outsiders.find(pipe.inode());
      const bool whole = facts.reader && facts.writer;
      if (other == outsiders.end() && (whole || facts.other_end_closed)) continue;
      pipe.set_leads_outside(true);
      pipe.clear_pieces();  // what is in it belongs to both sides; it stays with the other one
      const std::string who =
          other != outsiders.end() ? other->second : std::string("a process that cannot be looked into");
      for (const std::string& object : facts.objects) {
        context.blockers.add(object, "its other end is held by " + who,
                             "end that process, or let the program close it");
      }
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
    }
    for (const auto& end : state_.ends()) {
      if ((end.flags() & ~kept_flags) != 0 || end.number() < 0 || find_pipe(end.inode()) == nullptr) {
        return Error(Errc::bad_snapshot, "an end of a pipe is described wrongly");
      }
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext& context, std::uint32_t id) override {
    const auto end = std::ranges::find_if(state_.ends(), [id](const auto& each) { return each.id() == id; });
    if (end == state_.ends().end()) return Error(Errc::bad_snapshot, "an end of a pipe is missing");
    const auto& pipe = *find_pipe(end->inode());
    if (pipe.leads_outside()) return own_stream(context, end->number());
    CRS_TRY(Made* const made, make(pipe));
    // The first description of each end is the one that pipe(2) made. Others are opened by way of /proc like
    // any FIFO; O_NONBLOCK keeps that from waiting.
    const int access = static_cast<int>(end->flags() & O_ACCMODE);
    const int base = can_read(end->flags()) ? made->read.get() : made->write.get();
    bool& taken = can_read(end->flags()) ? made->read_taken : made->write_taken;
    OwnedFd fd;
    if (access != O_RDWR && !taken) {
      taken = true;
      fd = OwnedFd(fcntl(base, F_DUPFD_CLOEXEC, 0));
      if (!fd) return Error::from_errno(errno, "take an end of a pipe");
    } else {
      CRS_TRY(fd, open_file("/proc/self/fd/" + std::to_string(base), access | O_NONBLOCK));
    }
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(end->flags() & (O_NONBLOCK | O_DIRECT | O_APPEND))) != 0) {
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
    }
    return list;
  }

 private:
  struct Made {
    OwnedFd read, write;  // stay open until the table closes all that is not the program's
    bool read_taken = false, write_taken = false;
  };

  const state::Pipe* find_pipe(std::uint64_t inode) const {
    const auto found =
        std::ranges::find_if(state_.pipes(), [inode](const auto& pipe) { return pipe.inode() == inode; });
    return found == state_.pipes().end() ? nullptr : &*found;
  }

  Status collect_pipe(CollectContext& context, const OpenFile& file, const std::string& object) {
    auto found = std::ranges::find_if(*state_.mutable_pipes(),
                                      [&](const auto& pipe) { return pipe.inode() == file.status.st_ino; });
    state::Pipe* pipe = nullptr;
    if (found != state_.mutable_pipes()->end()) {
      pipe = &*found;
    } else {
      pipe = state_.add_pipes();
      pipe->set_inode(file.status.st_ino);
      pipe->set_mode(file.status.st_mode & 07777u);
      pipe->set_uid(file.status.st_uid);
      pipe->set_gid(file.status.st_gid);
      const int capacity = fcntl(file.local, F_GETPIPE_SZ);
      if (capacity < 0) return Error::from_errno(errno, "ask for the size of " + object);
      pipe->set_capacity(static_cast<std::uint64_t>(capacity));
    }
    if (!can_read(file.flags) || pipe->pieces_size() != 0) return ok();
    int waiting = 0;
    if (ioctl(file.local, FIONREAD, &waiting) != 0)
      return Error::from_errno(errno, "ask what is in " + object);
    if (waiting == 0) return ok();
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error::from_errno(errno, "pipe");
    const OwnedFd out(ends[0]), in(ends[1]);
    if (fcntl(in.get(), F_SETPIPE_SZ, static_cast<int>(pipe->capacity())) < 0) {
      context.blockers.add(
          object, "it is larger than this user may make one (" + std::to_string(pipe->capacity()) + " bytes)",
          "raise fs.pipe-max-size, or run crs as root");
      return ok();
    }
    const ssize_t copied = tee(file.local, in.get(), static_cast<std::size_t>(waiting), SPLICE_F_NONBLOCK);
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

  // inode -> another process that has it open.
  Result<std::map<std::uint64_t, std::string>> find_outsiders(const FrozenProcess& target) const {
    std::map<std::uint64_t, std::string> found;
    CRS_CHECK(see_other_descriptors(target, [&](const OtherDescriptor& other) {
      if (!other.link.starts_with("pipe:[")) return;
      const auto inode = parse_number(std::string_view(other.link).substr(6, other.link.size() - 7));
      if (inode && facts_.contains(*inode) && !found.contains(*inode)) found.emplace(*inode, other.process());
    }));
    return found;
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
    Made& made = made_[pipe.inode()];
    if (made.read) return &made;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Error::from_errno(errno, "pipe");
    made.read = OwnedFd(ends[0]);
    made.write = OwnedFd(ends[1]);
    CRS_CHECK(give_back_owner(pipe, ends[0]));
    if (fcntl(made.write.get(), F_SETPIPE_SZ, static_cast<int>(pipe.capacity())) < 0) {
      return Error::from_errno(errno, "make a pipe of " + std::to_string(pipe.capacity()) + " bytes")
          .with_hint("raise fs.pipe-max-size, or restart as root");
    }
    const bool packets = std::ranges::any_of(state_.ends(), [&](const auto& end) {
      return end.inode() == pipe.inode() && (end.flags() & O_DIRECT) != 0;
    });
    if (packets && fcntl(made.write.get(), F_SETFL, O_NONBLOCK | O_DIRECT) != 0)
      return Error::from_errno(errno, "set packet mode");
    for (const auto& piece : pipe.pieces()) CRS_CHECK(write_all(made.write.get(), piece, "a pipe"));
    return &made;
  }

  state::Pipes state_;
  std::map<std::uint64_t, Facts> facts_;
  std::map<std::uint64_t, Made> made_;
};

}  // namespace

extern constinit const KindInfo kind_pipes{
    .section = "pipes", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<PipesKind>();
    }};

}  // namespace crs
