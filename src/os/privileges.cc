// SPDX-License-Identifier: Apache-2.0
#include "os/privileges.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdint>

#include "os/owned_fd.h"
#include "os/proc.h"

namespace crs {
namespace {

constexpr int cap_sys_admin = 21;
constexpr int cap_checkpoint_restore = 40;

std::uint64_t effective_capabilities() {
  const auto self = ProcDir::open(Pid(getpid()));
  if (!self) return 0;
  const auto status = self->status();
  return status ? status->number("CapEff", 16).value_or(0) : 0;
}

bool has(std::uint64_t capabilities, int number) {
  return (capabilities >> number & 1) != 0;
}

// An owner outside of our own user namespace and what is below it is not told.
bool our_user_namespace_owns_our_pids() {
  const OwnedFd pids(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  if (!pids) return true;  // a kernel without it has but one
  const OwnedFd owner(ioctl(pids.get(), NS_GET_USERNS));
  return static_cast<bool>(owner);
}

}  // namespace

bool may_choose_pids() {
  const std::uint64_t capabilities = effective_capabilities();
  return (has(capabilities, cap_sys_admin) || has(capabilities, cap_checkpoint_restore)) &&
         our_user_namespace_owns_our_pids();
}

bool may_make_namespaces() {
  return has(effective_capabilities(), cap_sys_admin);
}

}  // namespace crs
