// SPDX-License-Identifier: Apache-2.0
#include "engine/guise.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

namespace crs {
namespace {

struct Guise {
  std::vector<std::uint64_t> uids, gids, groups;
  std::uint64_t permitted = 0, effective = 0;
  bool operator==(const Guise&) const = default;
};

Result<Guise> guise_of(const ProcDir& proc) {
  CRS_TRY(const ProcFields status, proc.status());
  Guise guise{status.numbers("Uid"), status.numbers("Gid"), status.numbers("Groups"),
              status.number("CapPrm", 16).value_or(0), status.number("CapEff", 16).value_or(0)};
  if (guise.uids.size() != 4 || guise.gids.size() != 4)
    return Error(Errc::kernel, "/proc/PID/status has no four ids");
  return guise;
}

Status take(const Guise& wanted, const Guise& own) {
  if (wanted == own) return ok();
  const auto id = [](std::uint64_t number) { return static_cast<unsigned>(number); };
  const std::vector<gid_t> groups(wanted.groups.begin(), wanted.groups.end());
  if (wanted.groups != own.groups && syscall(SYS_setgroups, groups.size(), groups.data()) != 0)
    return Error::from_errno(errno, "setgroups");
  if (wanted.gids != own.gids &&
      syscall(SYS_setresgid, id(wanted.gids[0]), id(wanted.gids[1]), id(wanted.gids[2])) != 0)
    return Error::from_errno(errno, "setresgid");
  prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  if (wanted.uids != own.uids &&
      syscall(SYS_setresuid, id(wanted.uids[0]), id(wanted.uids[1]), id(wanted.uids[2])) != 0)
    return Error::from_errno(errno, "setresuid");
  const std::uint64_t permitted = wanted.permitted & own.permitted;
  const std::uint64_t effective = wanted.effective & permitted;
  const __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct data[2] = {{id(effective & 0xffffffff), id(permitted & 0xffffffff), 0},
                                          {id(effective >> 32), id(permitted >> 32), 0}};
  if (syscall(SYS_capset, &header, data) != 0) return Error::from_errno(errno, "capset");
  return ok();
}

}  // namespace

Result<PartReport> ask_in_guise_of(const ProcDir& proc, const std::function<PartReport()>& ask) {
  CRS_TRY(const Guise wanted, guise_of(proc));
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const Guise own, guise_of(self));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  const OwnedFd in(ends[0]);
  OwnedFd out(ends[1]);
  const pid_t child = fork();
  if (child < 0) return Error::from_errno(errno, "fork");
  if (child == 0) {
    PartReport report;
    try {
      if (auto taken = take(wanted, own); !taken) {
        report.error = std::move(taken).error();
      } else {
        report = ask();
      }
    } catch (const std::exception& exception) {
      report.error = Error(Errc::bug, exception.what());
    }
    (void)write_all(out.get(), report.to_text(), "a report");
    _exit(0);
  }
  out.reset();
  const auto text = read_fd(in.get(), "a report");
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  CRS_CHECK(text);
  return PartReport::parse(*text);
}

}  // namespace crs
