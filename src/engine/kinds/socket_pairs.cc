// SPDX-License-Identifier: Apache-2.0
// Socket pairs (socketpair(2)): two connected sockets without names, of which the process has both.
//
// What this file knows
//   Which socket is the other end of which, and what is shut down, tells the kernel's table of sockets
//   (sock_diag(7)), by inode. What waits in a socket is looked at by recv(2) with MSG_PEEK on a copy of its
//   descriptor, which leaves it there. Of a stream that is everything; of messages only the first can be
//   looked at without changing the socket (SO_PEEK_OFF), so one that holds more is refused. Descriptors that
//   travel in a message are refused: a look would make copies of them. A pair is made anew as a pair, and
//   what waited is sent by the other end. SO_PEERCRED tells who made it, so that it is made by the same user,
//   and by the pid that the process has. A pair of which another process has one end, or both, is a channel
//   between the two: refused.
// What it leaves to others
//   Sockets with names or addresses: no kind claims them, so they are refused by name (descriptor_table.h).
//   Who waits in a socket: a waiting thread makes its call again (interrupted_calls.h), an epoll watches it
//   (event_polls.cc).
//
// Kernel interfaces: unix(7), sock_diag(7), socket(7).   Round trip: tests/targets/socket_pairs_*.cc
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "engine/kinds/socket_pairs.pb.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::uint32_t settable_flags = O_NONBLOCK;
constexpr std::uint32_t shut_mask = 3;
constexpr ssize_t most_put_back = 2048;
constexpr std::size_t most_content = 64u << 20;  // far above what the buffers of a pair hold

std::string name_of(int number) {
  return "fd " + std::to_string(number) + " (a socket of a pair)";
}

template <class T>
std::optional<T> option_of(int fd, int option) {
  T value{};
  socklen_t size = sizeof value;
  if (getsockopt(fd, SOL_SOCKET, option, &value, &size) != 0 || size != sizeof value) return std::nullopt;
  return value;
}

// Its bytes, or the error of who asks; of an attached filter how long it is.
std::pair<int, std::string> raw_option(int fd, int option) {
  std::array<char, 16> value{};
  socklen_t size = option == SO_GET_FILTER ? 0 : value.size();
  if (getsockopt(fd, SOL_SOCKET, option, value.data(), &size) != 0) return {errno, ""};
  return {0, option == SO_GET_FILTER ? std::to_string(size)
                                     : std::string(value.data(), std::min<std::size_t>(size, value.size()))};
}

int number_option(int fd, int option) {
  return option_of<int>(fd, option).value_or(0);
}

bool is_unnamed(int (*ask)(int, sockaddr*, socklen_t*), int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  return ask(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 && size == sizeof(sa_family_t);
}

std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

// What the kernel tells of a socket of this network namespace.
struct TableRow {
  std::uint64_t other = 0;  // inode; 0: none
  std::uint32_t shut = 0;
};

// Of all sockets of AF_UNIX, by inode.
Result<std::map<std::uint64_t, TableRow>> read_socket_table() {
  const OwnedFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return Error::from_errno(errno, "ask for the sockets of the system");
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = AF_UNIX;
  ask.request.udiag_states = ~0U;
  ask.request.udiag_show = UDIAG_SHOW_PEER;
  if (send(netlink.get(), &ask, sizeof ask, 0) != sizeof ask)
    return Error::from_errno(errno, "ask for the sockets of the system");
  std::map<std::uint64_t, TableRow> table;
  alignas(nlmsghdr) std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = recv(netlink.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Error::from_errno(errno, "read the sockets of the system");
    auto left = static_cast<std::uint32_t>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return table;
      if (header->nlmsg_type == NLMSG_ERROR)
        return Error(Errc::kernel, "the kernel does not tell of sockets (CONFIG_UNIX_DIAG)");
      const auto* const message = static_cast<const unix_diag_msg*>(NLMSG_DATA(header));
      TableRow& row = table[message->udiag_ino];
      auto rest = header->nlmsg_len - NLMSG_LENGTH(sizeof *message);
      for (auto* attribute = reinterpret_cast<const nlattr*>(message + 1);
           rest >= sizeof *attribute && attribute->nla_len >= sizeof *attribute &&
           attribute->nla_len <= rest;) {
        const char* const value = reinterpret_cast<const char*>(attribute) + NLA_HDRLEN;
        const std::size_t size = attribute->nla_len - static_cast<std::size_t>(NLA_HDRLEN);
        if (attribute->nla_type == UNIX_DIAG_PEER && size >= 4) {
          std::uint32_t inode = 0;
          std::memcpy(&inode, value, sizeof inode);
          row.other = inode;
        } else if (attribute->nla_type == UNIX_DIAG_SHUTDOWN && size >= 1) {
          row.shut = static_cast<unsigned char>(*value);
        }
        const std::size_t step = NLA_ALIGN(attribute->nla_len);
        if (step >= rest) break;
        rest -= static_cast<std::uint32_t>(step);
        attribute = reinterpret_cast<const nlattr*>(reinterpret_cast<const char*>(attribute) + step);
      }
    }
  }
}

// What waits in the socket. nullopt: not all of it can be looked at; `why` says it.
struct Waiting {
  std::string content;
  bool has_message = false;
};
std::optional<Waiting> look_at_content(int fd, int type, std::string& why) {
  Waiting waiting;
  int bytes = 0;
  if (ioctl(fd, FIONREAD, &bytes) != 0 || bytes < 0) {
    why = "the kernel does not tell what waits in it";
    return std::nullopt;
  }
  std::string buffer(static_cast<std::size_t>(bytes) + 1, '\0');
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t got = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && bytes == 0) return waiting;
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    why = "a byte out of band waits in it";
    return std::nullopt;
  }
  if (got < 0) {
    why = Error::from_errno(errno, "look at what waits in it").to_string();
    return std::nullopt;
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    why = "descriptors or credentials travel in it (SCM_RIGHTS)";
    return std::nullopt;
  }
  // How many messages wait, some of them perhaps without bytes, nobody tells.
  if (type != SOCK_STREAM || got != bytes) {
    why = "messages wait in it, of which only the first can be looked at";
    return std::nullopt;
  }
  // One send takes what many may have sent only where it is small beside the least that a buffer can be.
  if (got > most_put_back) {
    why = "more waits in it than can be put back for sure (" + std::to_string(got) + " bytes)";
    return std::nullopt;
  }
  waiting.content.assign(buffer.data(), static_cast<std::size_t>(got));
  return waiting;
}

class SocketPairsKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override {
    if (!S_ISSOCK(file.status.st_mode) || file.local < 0) return false;
    return number_option(file.local, SO_DOMAIN) == AF_UNIX && number_option(file.local, SO_ACCEPTCONN) == 0 &&
           is_unnamed(getsockname, file.local) && is_unnamed(getpeername, file.local);
  }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    auto& saved = *state_.add_ends();
    saved.set_id(file.id);
    saved.set_number(file.fds.front().v);
    saved.set_inode(file.status.st_ino);
    saved.set_flags(file.flags & settable_flags);
    const int fd = file.local;
    const std::string object = name_of(saved.number());
    const int type = number_option(fd, SO_TYPE);
    saved.set_type(static_cast<std::uint32_t>(type));
    f_owner_ex owner{};
    const bool signals = (fcntl(fd, F_GETOWN_EX, &owner) == 0 && owner.pid != 0) || fcntl(fd, F_GETSIG) > 0;
    if (signals || (file.flags & ~std::uint32_t{O_RDWR | O_NONBLOCK}) != 0) {
      context.blockers.add(object, "it has file status flags, or an owner, that cannot be restored yet",
                           "let the program clear them");
    }
    refuse_options(context, object, fd);
    const auto receive_limit = option_of<timeval>(fd, SO_RCVTIMEO),
               send_limit = option_of<timeval>(fd, SO_SNDTIMEO);
    saved.set_send_buffer(static_cast<std::uint32_t>(number_option(fd, SO_SNDBUF)));
    saved.set_receive_buffer(static_cast<std::uint32_t>(number_option(fd, SO_RCVBUF)));
    saved.set_receive_limit_us(receive_limit ? microseconds(*receive_limit) : 0);
    saved.set_send_limit_us(send_limit ? microseconds(*send_limit) : 0);
    saved.set_least_bytes(static_cast<std::uint32_t>(number_option(fd, SO_RCVLOWAT)));
    if (const auto peer = option_of<ucred>(fd, SO_PEERCRED)) {
      saved.set_peer_uid(peer->uid);
      saved.set_peer_gid(peer->gid);
      // Another process made it, and this one has it by fork or exec of that: the pid would be ours
      // afterwards.
      if (peer->pid != context.target.pid().v)
        context.blockers.add(object, "another process made it, whose number SO_PEERCRED tells",
                             "let the program make its own");
    }
    std::string why;
    if (number_option(fd, SO_PEEK_OFF) >= 0) return ok();  // refused, and a look would move it
    if (auto waiting = look_at_content(fd, type, why)) {
      saved.set_content(std::move(waiting->content));
      saved.set_has_message(waiting->has_message);
    } else {
      context.blockers.add(object, why, "let the program receive it first");
    }
    return ok();
  }

  // After all descriptors: which two belong together, and who else has them.
  Status collect(CollectContext& context) override {
    if (state_.ends().empty()) return ok();
    CRS_TRY(const auto table, read_socket_table());
    std::map<std::uint64_t, int> ours;
    for (const auto& end : state_.ends()) ours[end.inode()] = end.number();
    for (auto& end : *state_.mutable_ends()) {
      const auto row = table.find(end.inode());
      if (row != table.end()) {
        end.set_other(row->second.other);
        end.set_shut(row->second.shut & shut_mask);
      }
      if (ours.contains(end.other())) continue;
      context.blockers.add(name_of(end.number()),
                           end.other() != 0 ? "its other end is held by somebody else, or by nobody"
                                            : "its other end was closed",
                           "let the program close it");
    }
    std::set<int> told;
    return see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
      constexpr std::string_view prefix = "socket:[";
      if (!other.link.starts_with(prefix)) return;
      const auto inode = parse_number(
          std::string_view(other.link).substr(prefix.size(), other.link.size() - prefix.size() - 1));
      const auto found = inode ? ours.find(*inode) : ours.end();
      if (found == ours.end() || !told.insert(found->second).second) return;
      context.blockers.add(name_of(found->second), "it is shared with " + other.process(),
                           "end that process, or let the program close it");
    });
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    std::map<std::uint64_t, const state::SocketEnd*> ends;
    bool sound = true;
    for (const auto& end : state_.ends()) {
      const bool known_type =
          end.type() == SOCK_STREAM || end.type() == SOCK_DGRAM || end.type() == SOCK_SEQPACKET;
      sound = sound && known_type && end.number() >= 0 && (end.flags() & ~settable_flags) == 0 &&
              (end.shut() & ~shut_mask) == 0 && end.content().size() <= most_content &&
              end.send_buffer() <= INT32_MAX && end.receive_buffer() <= INT32_MAX &&
              end.least_bytes() <= INT32_MAX && end.receive_limit_us() <= INT64_MAX &&
              end.send_limit_us() <= INT64_MAX && ends.emplace(end.inode(), &end).second;
    }
    for (const auto& end : state_.ends()) {
      const auto other = ends.find(end.other());
      sound = sound && other != ends.end() && other->second != &end &&
              other->second->other() == end.inode() && other->second->type() == end.type();
    }
    if (!sound) return Error(Errc::bad_snapshot, "a pair of sockets is described wrongly");
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto end = std::ranges::find_if(state_.ends(), [id](const auto& each) { return each.id() == id; });
    if (end == state_.ends().end()) return Error(Errc::bad_snapshot, "a socket of a pair is missing");
    if (const auto made = made_.find(end->inode()); made != made_.end()) {
      OwnedFd fd = std::move(made->second);
      made_.erase(made);
      return fd;
    }
    const auto other =
        std::ranges::find_if(state_.ends(), [&](const auto& each) { return each.inode() == end->other(); });
    CRS_TRY(auto pair, make_pair(*end, *other));
    made_[end->other()] = std::move(pair.second);
    return std::move(pair.first);
  }

  nlohmann::json describe() const override {
    if (state_.ends().empty()) return nullptr;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& end : state_.ends()) {
      list.push_back({{"fd", end.number()},
                      {"inode", end.inode()},
                      {"other", end.other()},
                      {"type", end.type()},
                      {"waiting_bytes", end.content().size()},
                      {"shut", end.shut()}});
    }
    return list;
  }

 private:
  static void refuse_options(CollectContext& context, const std::string& object, int fd) {
    // Whatever is not as in a new pair, but what is put back, what is only told, and what a look would change
    // (SO_ERROR) or make (SO_PEERPIDFD).
    constexpr int passed_over[] = {SO_TYPE,
                                   SO_ERROR,
                                   SO_SNDBUF,
                                   SO_RCVBUF,
                                   SO_LINGER,
                                   SO_PEERCRED,
                                   SO_RCVLOWAT,
                                   SO_RCVTIMEO,
                                   SO_SNDTIMEO,
                                   SO_ACCEPTCONN,
                                   SO_PEERSEC,
                                   SO_PROTOCOL,
                                   SO_DOMAIN,
                                   SO_PEERGROUPS,
                                   SO_MEMINFO,
                                   SO_COOKIE,
                                   SO_INCOMING_CPU,
                                   SO_INCOMING_NAPI_ID,
                                   66,
                                   67,
                                   72,
                                   77};
    constexpr int last_option = 90;  // above all that Linux 6.18 has; 66 and 67 are limits of time, 72 is
                                     // SO_BUF_LOCK, 77 SO_PEERPIDFD
    int fresh[2] = {-1, -1};
    if (socketpair(AF_UNIX, number_option(fd, SO_TYPE) | SOCK_CLOEXEC, 0, fresh) != 0)
      fresh[0] = fresh[1] = -1;
    const OwnedFd one(fresh[0]), other(fresh[1]);
    for (int option = 1; option <= last_option; ++option) {
      if (std::ranges::find(passed_over, option) != std::end(passed_over)) continue;
      if (one && raw_option(fd, option) == raw_option(one.get(), option)) continue;
      context.blockers.add(object,
                           "it has an option, or a filter, that cannot be restored yet: number " +
                               std::to_string(option) + " of SOL_SOCKET (socket(7))",
                           "let the program clear it");
    }
    if (const auto lingers = option_of<linger>(fd, SO_LINGER); lingers && lingers->l_onoff != 0) {
      context.blockers.add(object, "it has an option that cannot be restored yet: SO_LINGER",
                           "let the program clear it");
    }
  }

  static Result<std::pair<OwnedFd, OwnedFd>> make_pair(const state::SocketEnd& first,
                                                       const state::SocketEnd& second) {
    int ends[2] = {-1, -1};
    CRS_CHECK(as_user(first.peer_uid(), first.peer_gid(), [&]() -> Status {
      if (socketpair(AF_UNIX, static_cast<int>(first.type()) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return Error::from_errno(errno, "socketpair");
      return ok();
    }));
    OwnedFd a(ends[0]), b(ends[1]);
    for (const auto& [fd, end] : {std::pair(a.get(), &first), std::pair(b.get(), &second)}) {
      CRS_CHECK(set_buffer(fd, SO_SNDBUF, end->send_buffer(), "send"));
      CRS_CHECK(set_buffer(fd, SO_RCVBUF, end->receive_buffer(), "receive"));
    }
    CRS_CHECK(fill(b.get(), first));
    CRS_CHECK(fill(a.get(), second));
    for (const auto& [fd, end] : {std::pair(a.get(), &first), std::pair(b.get(), &second)})
      CRS_CHECK(finish(fd, *end));
    return std::pair(std::move(a), std::move(b));
  }

  // SO_PEERCRED tells the effective user of who makes a pair.
  template <class Work>
  static Status as_user(uid_t uid, gid_t gid, Work&& work) {
    const uid_t our_uid = geteuid();
    const gid_t our_gid = getegid();
    if ((uid == our_uid && gid == our_gid) || our_uid != 0) return work();
    if (setegid(gid) != 0 || seteuid(uid) != 0)
      return Error::from_errno(errno, "make a pair of sockets as its user");
    Status status = work();
    if (seteuid(our_uid) != 0 || setegid(our_gid) != 0) return Error::from_errno(errno, "become root again");
    return status;
  }

  // The kernel doubles what it is told.
  static Status set_buffer(int fd, int option, std::uint32_t bytes, const char* which) {
    const auto is_set = [&] { return number_option(fd, option) == static_cast<int>(bytes); };
    if (is_set()) return ok();
    const int half = static_cast<int>(bytes / 2);
    const int forced = option == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;
    setsockopt(fd, SOL_SOCKET, option, &half, sizeof half);
    if (!is_set()) setsockopt(fd, SOL_SOCKET, forced, &half, sizeof half);
    if (is_set()) return ok();
    return Error(Errc::refused, std::string("a socket's ") + which + " buffer of " + std::to_string(bytes) +
                                    " bytes cannot be had here")
        .with_hint("raise sysctl net.core.wmem_max and rmem_max, or restart as root");
  }

  // What waits in `end` is sent by its other end.
  static Status fill(int from, const state::SocketEnd& end) {
    if (end.content().empty() && !end.has_message()) return ok();
    if (send(from, end.content().data(), end.content().size(), MSG_DONTWAIT | MSG_NOSIGNAL) !=
        static_cast<ssize_t>(end.content().size()))
      return Error::from_errno(errno, "put back what waited in a socket");
    return ok();
  }

  static Status finish(int fd, const state::SocketEnd& end) {
    const auto set = [&](int option, const auto& value) {
      return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) == 0;
    };
    const auto time_of = [](std::uint64_t us) {
      return timeval{static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
    };
    bool good = true;
    if (end.receive_limit_us() != 0) good = good && set(SO_RCVTIMEO, time_of(end.receive_limit_us()));
    if (end.send_limit_us() != 0) good = good && set(SO_SNDTIMEO, time_of(end.send_limit_us()));
    if (end.least_bytes() > 1) good = good && set(SO_RCVLOWAT, static_cast<int>(end.least_bytes()));
    if (!good) return Error::from_errno(errno, "set the options of a socket");
    if (end.shut() != 0) {
      const int how = end.shut() == shut_mask ? SHUT_RDWR : end.shut() == 1 ? SHUT_RD : SHUT_WR;
      if (shutdown(fd, how) != 0) return Error::from_errno(errno, "shut a socket down");
    }
    if (fcntl(fd, F_SETFL, static_cast<int>(end.flags())) != 0)
      return Error::from_errno(errno, "set the flags of a socket");
    return ok();
  }

  state::SocketPairs state_;
  std::map<std::uint64_t, OwnedFd> made_;  // the other ends, until they are asked for
};

}  // namespace

extern constinit const KindInfo kind_socket_pairs{
    .section = "socket_pairs", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<SocketPairsKind>();
    }};

}  // namespace crs
