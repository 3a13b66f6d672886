// SPDX-License-Identifier: Apache-2.0
// Event polls (epoll): which files are watched, for what, with what data.
//
// What this file knows
//   fdinfo lists the watches, each under the descriptor number at its registration. That number may be closed
//   or another file's by now: kcmp(2) (KCMP_EPOLL_TFD) tells which descriptor is the watched file. A watched
//   file of which the process has no descriptor left is held by somebody else or by a mapping: refused. The
//   watches are made again by the process itself once its descriptors stand at their numbers, for the kernel
//   keeps (file, number). A number that is another file's by now is lent to the watched one for the call. A
//   watch with EPOLLONESHOT that has fired has no events left, a state that only firing leads to: it is made
//   to fire again on what was ready at the checkpoint, and before all others, so that nothing else is taken
//   from the list of what is ready. An edge (EPOLLET) that was told already is told again where the file is
//   still ready: one too many is harmless, one too few is not. Every restored poll is compared with the saved
//   one before the program runs.
// What it leaves to others
//   The watched files (their kinds); threads inside epoll_wait(2) (interrupted_calls.h).
//
// Kernel interfaces: epoll(7), epoll_ctl(2), kcmp(2), proc(5) fdinfo.   Round trip:
// tests/targets/event_polls_*.cc
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <set>
#include <tuple>

#include "engine/kinds/event_polls.pb.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

// What of a watch stays when EPOLLONESHOT has fired (EP_PRIVATE_BITS, fs/eventpoll.c).
constexpr std::uint32_t private_bits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
constexpr const char* link_text = "anon_inode:[eventpoll]";
constexpr std::uint32_t harmless_flags = O_RDWR | O_NONBLOCK;

bool has_fired(std::uint32_t events) {
  return (events & EPOLLONESHOT) != 0 && (events & ~private_bits) == 0;
}

struct Line {  // of fdinfo
  int fd = -1;
  std::uint32_t events = 0;
  std::uint64_t data = 0;
  auto key() const { return std::tuple(fd, events, data); }
};

Result<std::vector<Line>> watches_in(const std::string& fdinfo) {
  std::vector<Line> lines;
  for (std::size_t at = fdinfo.find("tfd:"); at != std::string::npos; at = fdinfo.find("tfd:", at + 1)) {
    Line line;
    unsigned long long data = 0;
    if (std::sscanf(fdinfo.c_str() + at, "tfd: %d events: %x data: %llx", &line.fd, &line.events, &data) !=
        3) {  // NOLINT: fixed format
      return Error(Errc::kernel, "the kernel describes an epoll in an unknown way");
    }
    line.data = data;
    lines.push_back(line);
  }
  return lines;
}

std::string name_of(int number) {
  return "fd " + std::to_string(number) + " (epoll)";
}

class EventPollsKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override { return file.path == link_text; }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    auto& poll = *state_.add_polls();
    poll.set_id(file.id);
    poll.set_number(file.fds.front().v);
    poll.set_flags(file.flags & O_NONBLOCK);
    if ((file.flags & ~harmless_flags) != 0) {
      context.blockers.add(name_of(poll.number()), "it has file status flags that cannot be restored yet",
                           "let the program clear them");
    }
    check_parameters(context, file);
    CRS_TRY(const auto lines, watches_in(file.fdinfo));
    for (const Line& line : lines) {
      auto& watch = *poll.add_watches();
      watch.set_fd(line.fd);
      watch.set_events(line.events);
      watch.set_data(line.data);
    }
    return ok();
  }

  // After all descriptors: which files the watches mean.
  Status collect(CollectContext& context) override {
    if (state_.polls().empty()) return ok();
    CRS_CHECK(refuse_shared(context));
    CRS_TRY(const auto fds, context.target.proc().fds());
    for (auto& poll : *state_.mutable_polls()) {
      std::map<int, std::uint32_t> seen;  // watches with the same number so far
      for (auto& watch : *poll.mutable_watches()) {
        const std::uint32_t nth = seen[watch.fd()]++;
        const auto source = find_source(context.target.living_thread(), poll, watch, nth, fds);
        const std::string object = name_of(poll.number());
        if (!source) {
          context.blockers.add(object,
                               "it watches a file that was fd " + std::to_string(watch.fd()) +
                                   " and that the program has closed, but somebody else holds open",
                               "let the program remove the watch (EPOLL_CTL_DEL) before it closes the file");
          continue;
        }
        watch.set_source(source->v);
        if (!has_fired(watch.events())) continue;
        // What is another file after a restart, or is not ready before its own watches are made, will not
        // fire.
        const auto link = context.target.proc().read_link("fd/" + std::to_string(source->v));
        if (source->v < 3 || !link || *link == link_text) {
          context.blockers.add(object,
                               "its one-shot watch of fd " + std::to_string(watch.fd()) +
                                   " has fired, and that descriptor may not be ready again after a restart",
                               "let the program arm it again (EPOLL_CTL_MOD)");
          continue;
        }
        const std::uint32_t ready = what_is_ready(context.target, *source);
        watch.set_fires_with(ready);
        if (ready == 0) {
          context.blockers.add(object,
                               "its one-shot watch of fd " + std::to_string(watch.fd()) +
                                   " has fired, and nothing is ready there to let it fire again",
                               "let the program arm it again (EPOLL_CTL_MOD)");
        }
      }
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& poll : state_.polls()) {
      const bool sound =
          poll.number() >= 0 && (poll.flags() & ~static_cast<std::uint32_t>(O_NONBLOCK)) == 0 &&
          std::ranges::all_of(poll.watches(),
                              [](const auto& watch) { return watch.fd() >= 0 && watch.source() >= 0; });
      if (!sound) return Error(Errc::bad_snapshot, "an epoll is described wrongly");
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.polls(), [id](const auto& each) { return each.id() == id; });
    if (found == state_.polls().end()) return Error(Errc::bad_snapshot, "an epoll is missing");
    OwnedFd fd(epoll_create1(EPOLL_CLOEXEC));
    if (!fd) return Error::from_errno(errno, "epoll_create1");
    if (found->flags() != 0 && fcntl(fd.get(), F_SETFL, static_cast<int>(found->flags())) != 0) {
      return Error::from_errno(errno, "set the flags of an epoll");
    }
    return fd;
  }

  Status rebuild(RebuildContext& context) override {
    if (state_.polls().empty()) return ok();
    pid_ = context.pid();
    CRS_TRY(const ProcDir proc, ProcDir::open(context.pid()));
    CRS_TRY(const auto fds, proc.fds());
    std::set<int> taken;
    for (const RemoteFd fd : fds) taken.insert(fd.v);
    int spare = 0;
    while (taken.contains(spare)) ++spare;
    for (const auto& poll : state_.polls()) {
      for (const bool fired : {true, false}) {
        for (const auto& watch : poll.watches()) {
          if (has_fired(watch.events()) != fired) continue;
          if (!can_be_watched(context, watch.source())) {
            context.note(name_of(poll.number()) + ": fd " + std::to_string(watch.source()) +
                         " is a file now that cannot be watched, so the program is told of no events there");
            left_out_.insert({poll.number(), watch.fd()});
            continue;
          }
          CRS_CHECK(add_watch(context.leader(), poll, watch, taken, spare, proc));
        }
      }
    }
    return ok();
  }

  // The process stands as it will run: its polls must be the saved ones.
  Status commit(CommitContext&) override {
    if (state_.polls().empty()) return ok();
    CRS_TRY(const ProcDir proc, ProcDir::open(pid_));
    for (const auto& poll : state_.polls()) {
      CRS_TRY(const std::string fdinfo, proc.read("fdinfo/" + std::to_string(poll.number())));
      CRS_TRY(const auto lines, watches_in(fdinfo));
      std::multiset<std::tuple<int, std::uint32_t, std::uint64_t>> now, before;
      for (const Line& line : lines) now.insert(line.key());
      for (const auto& watch : poll.watches()) {
        if (!left_out_.contains({poll.number(), watch.fd()}))
          before.insert({watch.fd(), watch.events(), watch.data()});
      }
      if (now != before)
        return Error(Errc::kernel, name_of(poll.number()) + ": its watches did not come back as they were");
    }
    return ok();
  }

  nlohmann::json describe() const override {
    if (state_.polls().empty()) return nullptr;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& poll : state_.polls())
      list.push_back({{"fd", poll.number()}, {"watches", poll.watches_size()}});
    return list;
  }

 private:
  // Busy polling of network devices (Linux 6.9) is set by an ioctl of its own.
  static void check_parameters(CollectContext& context, const OpenFile& file) {
    struct Parameters {
      std::uint32_t busy_poll_usecs;
      std::uint16_t busy_poll_budget;
      std::uint8_t prefer_busy_poll;
      std::uint8_t padding;
    } parameters{};
    constexpr unsigned long get_parameters = _IOR(0x8A, 0x02, Parameters);  // EPIOCGPARAMS
    if (file.local < 0 || ioctl(file.local, get_parameters, &parameters) != 0) return;
    if (parameters.busy_poll_usecs == 0 && parameters.busy_poll_budget == 0 &&
        parameters.prefer_busy_poll == 0)
      return;
    context.blockers.add(name_of(file.fds.front().v), "it polls a network device busily (EPIOCSPARAMS)",
                         "this cannot be restored yet");
  }

  // A poll that another process holds as well, as a child does after fork(2): each sees what the other
  // watches.
  Status refuse_shared(CollectContext& context) const {
    const Tid process = context.target.living_thread();
    std::set<int> told;
    CRS_CHECK(see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
      if (other.link != link_text) return;
      for (const auto& poll : state_.polls()) {
        const int number = poll.number();
        const bool same = syscall(SYS_kcmp, process.v, other.pid.v, KCMP_FILE, number, other.fd.v) == 0;
        if (!same || !told.insert(number).second) continue;
        context.blockers.add(name_of(number), "it is shared with " + other.process(),
                             "end that process, or let the program close it");
      }
    }));
    return ok();
  }

  static std::optional<RemoteFd> find_source(Tid process, const state::EventPoll& poll,
                                             const state::Watch& watch, std::uint32_t nth,
                                             const std::vector<RemoteFd>& fds) {
    kcmp_epoll_slot slot{static_cast<std::uint32_t>(poll.number()), static_cast<std::uint32_t>(watch.fd()),
                         nth};
    const auto is_it = [&](RemoteFd fd) {
      return syscall(SYS_kcmp, process.v, process.v, KCMP_EPOLL_TFD, fd.v, &slot) == 0;
    };
    const RemoteFd same(watch.fd());
    if (std::ranges::binary_search(fds, same) && is_it(same)) return same;
    const auto found = std::ranges::find_if(fds, is_it);
    return found == fds.end() ? std::nullopt : std::optional(*found);
  }

  static std::uint32_t what_is_ready(const FrozenProcess& target, RemoteFd fd) {
    const OwnedFd local(static_cast<int>(syscall(SYS_pidfd_getfd, target.pidfd(), fd.v, 0)));
    pollfd ask{local.get(), POLLIN | POLLPRI | POLLOUT | POLLRDHUP, 0};
    if (!local || poll(&ask, 1, 0) <= 0) return 0;
    return static_cast<std::uint32_t>(ask.revents);
  }

  // A standard stream or a descriptor that the user replaced may be of another kind than the saved one, a
  // plain file for example, which epoll_ctl(2) refuses with EPERM.
  static bool can_be_watched(RebuildContext& context, int number) {
    if (number > 2 && !context.options().fd_paths.contains(number)) return true;
    const OwnedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, context.pid().v, 0)));
    const OwnedFd file(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
    const OwnedFd scratch(epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    return !pidfd || !file || !scratch || epoll_ctl(scratch.get(), EPOLL_CTL_ADD, file.get(), &event) == 0 ||
           errno != EPERM;
  }

  static Status add_watch(CallBatch& batch, const state::EventPoll& poll, const state::Watch& watch,
                          const std::set<int>& taken, int spare, const ProcDir& proc) {
    const std::string what = "watch fd " + std::to_string(watch.fd()) + " by " + name_of(poll.number());
    // The number is lent to the watched file; the epoll itself may stand there, so that is called by its
    // second name.
    const bool lent = watch.source() != watch.fd();
    const bool in_use = lent && taken.contains(watch.fd());
    int poll_number = poll.number();
    int flags = 0;
    if (in_use) {
      CRS_TRY(const std::string fdinfo, proc.read("fdinfo/" + std::to_string(watch.fd())));
      flags = static_cast<int>(ProcFields::parse(fdinfo).number("flags", 8).value_or(0)) & O_CLOEXEC;
      batch.call(what, SYS_dup3, watch.fd(), spare, O_CLOEXEC);
      if (poll_number == watch.fd()) poll_number = spare;
    }
    if (lent) batch.call(what, SYS_dup3, watch.source(), watch.fd(), O_CLOEXEC);
    epoll_event event{};
    event.events = watch.events() | watch.fires_with();
    event.data.u64 = watch.data();
    batch.call(what, SYS_epoll_ctl, poll_number, EPOLL_CTL_ADD, watch.fd(), batch.in_value(event));
    if (has_fired(watch.events()))
      batch.call(what, SYS_epoll_wait, poll_number, batch.out(sizeof event), 1, 0);
    if (in_use) {
      batch.call(what, SYS_dup3, spare, watch.fd(), flags);
      batch.call(what, SYS_close, spare);
    } else if (lent) {
      batch.call(what, SYS_close, watch.fd());
    }
    return ok();
  }

  state::EventPolls state_;
  Pid pid_{0};
  std::set<std::pair<int, int>> left_out_;  // (epoll, watched number)
};

}  // namespace

extern constinit const KindInfo kind_event_polls{
    .section = "event_polls", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<EventPollsKind>();
    }};

}  // namespace crs
