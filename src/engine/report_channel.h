// SPDX-License-Identifier: Apache-2.0
// Report channel: how a process that is being replaced tells whoever replaces it what became of it.
//
// What this file knows
//   Nothing can be handed into the process but words, and it may be another user's: so the channel is a
//   socket with an abstract name (unix(7)) that nobody can guess, and who connects must be the process
//   itself. Its helper inherits the connection and sends one message (error_message.h). The end of the stream
//   without one means that both are gone.
//
// Kernel interfaces: unix(7) SO_PEERCRED, getrandom(2).
#pragma once

#include <string>

#include "engine/error_message.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"

namespace crs {

class ReportChannel {
 public:
  static Result<ReportChannel> open();
  const std::string& name() const { return name_; }
  // Waits until the process (and, with it, `pidfd`) tells of its end, or has ended without a word: then
  // Errc::target_gone.
  Result<PartReport> receive(Pid pid, int pidfd);

  // The other side. errors: not_found.
  static Result<OwnedFd> connect(const std::string& name);
  static void send(int channel, const PartReport& report);

 private:
  ReportChannel(OwnedFd socket, std::string name) : socket_(std::move(socket)), name_(std::move(name)) {}
  Result<OwnedFd> accept(Pid pid, int pidfd) const;
  OwnedFd socket_;
  std::string name_;
};

}  // namespace crs
