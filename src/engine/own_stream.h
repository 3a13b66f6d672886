// SPDX-License-Identifier: Apache-2.0
// Own streams: what takes the place of a standard stream that leads out of the saved process.
#pragma once

#include <fcntl.h>

#include <cerrno>

#include "engine/resource_kind.h"

namespace crs {

// A copy of the restart command's own stream of that number; /dev/null for other numbers and closed ones.
inline Result<OwnedFd> own_stream(const InsideContext& context, int number) {
  const int own = number < 3 ? context.own_stdio[static_cast<std::size_t>(number)] : -1;
  if (own < 0) return open_file("/dev/null", O_RDWR);
  const int copy = fcntl(own, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return Error::from_errno(errno, "take the restart's own stream");
  return OwnedFd(copy);
}

}  // namespace crs
