// SPDX-License-Identifier: Apache-2.0
// The one signal flag of this program lives here: a handler can reach nothing but static data.
#include "cli/interrupt.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace crs {

namespace {

std::atomic<bool> interrupted{false};
std::atomic<int> interrupting_signal{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  interrupting_signal.store(number);
  interrupted.store(true);
}

struct Caught {
  int number;
  void (*handler)(int);
};
const std::array caught_signals{
    Caught{SIGINT, on_signal},  Caught{SIGTERM, on_signal}, Caught{SIGHUP, on_signal},
    Caught{SIGQUIT, on_signal}, Caught{SIGUSR1, on_signal}, Caught{SIGUSR2, on_signal},
    Caught{SIGALRM, on_signal}, Caught{SIGXCPU, on_signal}, Caught{SIGVTALRM, on_signal},
    Caught{SIGPIPE, SIG_IGN},   Caught{SIGXFSZ, SIG_IGN}};
std::array<struct sigaction, caught_signals.size()> former_actions;

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted.store(false);
  interrupting_signal.store(0);
  for (std::size_t i = 0; i < caught_signals.size(); ++i) {
    sigaction(caught_signals[i].number, nullptr, &former_actions[i]);
    if (former_actions[i].sa_handler == SIG_IGN) continue;
    struct sigaction action {};
    action.sa_handler = caught_signals[i].handler;
    // And no SA_RESTART: waits in system calls end with EINTR.
    if (action.sa_handler != SIG_IGN) action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    sigaction(caught_signals[i].number, &action, nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  for (std::size_t i = 0; i < caught_signals.size(); ++i)
    sigaction(caught_signals[i].number, &former_actions[i], nullptr);
}

int InterruptGuard::signal() const {
  return interrupting_signal.load();
}
const std::atomic<bool>& InterruptGuard::flag() const {
  return interrupted;
}

int die_of(int number) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(number, &action, nullptr);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  kill(getpid(), number);
  sigprocmask(SIG_UNBLOCK, &only, nullptr);
  return 128 + number;
}

}  // namespace crs
