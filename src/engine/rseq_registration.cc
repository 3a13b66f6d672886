// SPDX-License-Identifier: Apache-2.0
#include "engine/rseq_registration.h"

#include <sys/ptrace.h>

#include <cerrno>

namespace crs {

Result<RseqRegistration> read_rseq_registration(Tid tid) {
  constexpr auto get_configuration = static_cast<__ptrace_request>(0x420f);  // PTRACE_GET_RSEQ_CONFIGURATION
  RseqRegistration registration;
  if (ptrace(get_configuration, tid.v, sizeof registration, &registration) >= 0) return registration;
  const int error_number = errno;
  if (error_number == EIO) {
    return Error(Errc::unsupported,
                 "this kernel does not tell rseq registrations (Linux 5.13 or newer does)");
  }
  return Error::from_errno(error_number, "read the rseq registration of " + to_string(tid));
}

}  // namespace crs
