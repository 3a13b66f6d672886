// SPDX-License-Identifier: Apache-2.0
#include "engine/report_channel.h"

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace crs {
namespace {

constexpr std::size_t longest_message = 1u << 20;

struct Address {
  sockaddr_un socket{};
  socklen_t length = 0;
};

Result<Address> address_of(const std::string& name) {
  Address address;
  if (name.empty() || name.size() >= sizeof address.socket.sun_path)
    return Error(Errc::usage, "'" + name + "' is no channel");
  address.socket.sun_family = AF_UNIX;
  std::memcpy(address.socket.sun_path + 1, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

Error ended() {
  return Error(Errc::target_gone, "the process ended before it ran again");
}

}  // namespace

Result<ReportChannel> ReportChannel::open() {
  std::array<unsigned char, 16> random{};
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    return Error::from_errno(errno, "getrandom");
  std::string name = "crs-";
  for (const unsigned char byte : random) {
    constexpr char digits[] = "0123456789abcdef";
    name += digits[byte >> 4];
    name += digits[byte & 15];
  }
  OwnedFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return Error::from_errno(errno, "make a socket");
  CRS_TRY(const Address address, address_of(name));
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.socket), address.length) != 0 ||
      listen(socket.get(), 4) != 0)
    return Error::from_errno(errno, "make a channel");
  return ReportChannel(std::move(socket), std::move(name));
}

Result<OwnedFd> ReportChannel::connect(const std::string& name) {
  CRS_TRY(const Address address, address_of(name));
  OwnedFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return Error::from_errno(errno, "make a socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address.socket), address.length) != 0)
    return Error::from_errno(errno, "reach who asked for this restart", Errc::not_found);
  return socket;
}

void ReportChannel::send(int channel, const PartReport& report) {
  const std::string text = report.to_text();
  (void)::send(channel, text.data(), text.size(), MSG_NOSIGNAL);  // nobody may be listening any more
}

Result<OwnedFd> ReportChannel::accept(Pid pid, int pidfd) const {
  for (;;) {
    pollfd look[] = {{socket_.get(), POLLIN, 0}, {pidfd, POLLIN, 0}};
    if (poll(look, 2, -1) < 0 && errno != EINTR) return Error::from_errno(errno, "wait for the process");
    OwnedFd connection(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) {
      if (look[1].revents != 0) return ended();
      continue;
    }
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == pid.v)
      return connection;
  }
}

Result<PartReport> ReportChannel::receive(Pid pid, int pidfd) {
  CRS_TRY(const OwnedFd connection, accept(pid, pidfd));
  std::string text(longest_message, '\0');
  ssize_t got = 0;
  while ((got = recv(connection.get(), text.data(), text.size(), 0)) < 0 && errno == EINTR) {
  }
  if (got <= 0) return ended();
  text.resize(static_cast<std::size_t>(got));
  return PartReport::parse(text);
}

}  // namespace crs
