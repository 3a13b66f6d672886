// SPDX-License-Identifier: Apache-2.0
#include "engine/inherited_state.h"

#include <linux/mempolicy.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>

namespace crs {
namespace {

constexpr int pr_set_memory_merge = 67;  // since Linux 6.4
constexpr std::size_t cpu_bytes = 1024;  // 8192 CPUs, the most that x86_64 Linux can be built for

// To ignore a signal throws it away (signal(7)). Blocked ones that come later wait for the program.
void forget_pending_signals() {
  for (const auto handler : {SIG_IGN, SIG_DFL}) {
    struct sigaction action {};
    action.sa_handler = handler;
    for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  }
}

}  // namespace

void clear_inherited_state() {
  const itimerval off{};
  for (const auto timer : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}) setitimer(timer, &off, nullptr);
  forget_pending_signals();
  std::array<std::uint8_t, cpu_bytes> all;
  all.fill(0xff);  // the kernel leaves those that there are and that the cgroup allows
  syscall(SYS_sched_setaffinity, 0, all.size(), all.data());
  syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0);
  prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  prctl(pr_set_memory_merge, 0, 0, 0, 0);
  prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
  prctl(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0);
  if (prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) > 0) prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
}

}  // namespace crs
