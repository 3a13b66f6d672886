// SPDX-License-Identifier: Apache-2.0
#include "cli/stand_in.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "os/proc.h"

namespace crs {

namespace {

// Everything that can be waited for; the rest are our own faults, and cannot come from outside unless meant
// for us.
sigset_t waited_signals() {
  sigset_t set;
  sigfillset(&set);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGKILL, SIGSTOP}) {
    sigdelset(&set, fault);
  }
  return set;
}

bool is_job_control_stop(int signal) {
  return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

}  // namespace

StandIn::StandIn(TerminalSettings settings)
    : settings_(settings), own_group_(getpgrp()), typed_by_hand_(isatty(STDIN_FILENO) == 1) {
  // A parent that ignores SIGCHLD (nohup does not, some servers do) would make the kernel reap in our place.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &standard, nullptr);
  if (auto tty = open_file("/dev/tty", O_RDWR | O_NOCTTY)) {
    terminal_ = std::move(*tty);
    had_terminal_ = tcgetpgrp(terminal_.get()) == own_group_;
    termios modes{};
    if (had_terminal_ && tcgetattr(terminal_.get(), &modes) == 0) modes_ = modes;
  }
}

StandIn::~StandIn() {
  take_terminal();
}

bool StandIn::same_group() const {
  return getpgid(program_.pid.v) == own_group_;
}

bool StandIn::program_is_stopped() const {
  const auto proc = ProcDir::open(program_.pid);
  if (!proc) return false;
  const auto stat = proc->stat();
  return stat && stat->state == 'T';
}

// SIGTTOU is blocked here, so tcsetpgrp(3) works from the background as well.
void StandIn::give_terminal() {
  if (!had_terminal_ || !program_.leads_group) return;
  const pid_t group = getpgid(program_.pid.v);
  if (group <= 0 || group == own_group_) return;
  lent_ = tcsetpgrp(terminal_.get(), group) == 0;  // EPERM: it is in a session of its own and needs none
}

void StandIn::take_terminal() {
  if (!std::exchange(lent_, false)) return;
  sigset_t only;
  sigset_t before;
  sigemptyset(&only);
  sigaddset(&only, SIGTTOU);
  sigprocmask(SIG_BLOCK, &only, &before);
  tcsetpgrp(terminal_.get(), own_group_);  // a terminal that was hung up: nothing to take
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

void StandIn::pass_on(const siginfo_t& info) {
  const int number = info.si_signo;
  if (number == SIGTTIN || number == SIGTTOU) return;  // about our own use of the terminal
  if (number == SIGCONT && !program_is_stopped()) return;
  if (info.si_code == SI_KERNEL && same_group()) {
    // A hang-up goes to the session's leader alone, everything else from a terminal to the whole group.
    const bool to_us_alone = number == SIGHUP && getsid(0) == getpid();
    if (!to_us_alone) return;
  }
  if (info.si_code == SI_QUEUE) {
    sigqueue(program_.pid.v, number, info.si_value);
  } else {
    kill(program_.pid.v, number);  // it may have ended meanwhile: SIGCHLD tells
  }
}

// The program stopped: hand the terminal back to the shell by stopping as well.
void StandIn::stop_with(int number) {
  take_terminal();
  // A second copy may wait for us: the terminal sent it to the whole group.
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  const timespec at_once{};
  while (number != SIGSTOP && sigtimedwait(&only, nullptr, &at_once) == number) {
  }
  struct sigaction standard {};
  struct sigaction former {};
  standard.sa_handler = SIG_DFL;
  if (number != SIGSTOP) sigaction(number, &standard, &former);
  kill(getpid(), number);
  if (number != SIGSTOP) {
    sigprocmask(SIG_UNBLOCK, &only, nullptr);  // here we stop, until SIGCONT
    sigprocmask(SIG_BLOCK, &only, nullptr);
    sigaction(number, &former, nullptr);
  }
  // Brought to the foreground, or continued in the background (bg), where the terminal is not ours to give.
  if (terminal_ && tcgetpgrp(terminal_.get()) == own_group_) {
    had_terminal_ = true;
    give_terminal();
  }
  if (program_is_stopped()) kill(program_.pid.v, SIGCONT);
}

int StandIn::end(int wait_status) {
  take_terminal();
  if (program_.changes) {
    while (waitpid(program_.child.v, nullptr, 0) < 0 && errno == EINTR) {  // the init, which ends at once
    }
  }
  const bool put_back = settings_ == TerminalSettings::put_back || WIFSIGNALED(wait_status);
  if (modes_ && put_back && tcgetpgrp(terminal_.get()) == own_group_)
    tcsetattr(terminal_.get(), TCSANOW, &*modes_);
  if (WIFSIGNALED(wait_status)) return die_of(WTERMSIG(wait_status));
  return WEXITSTATUS(wait_status);
}

void StandIn::on_stop(int number) {
  if (!program_is_stopped()) return;  // somebody has continued it already
  const bool wanted_terminal =
      (number == SIGTTIN || number == SIGTTOU) && had_terminal_ && program_.leads_group;
  if (wanted_terminal && tcgetpgrp(terminal_.get()) == own_group_) {
    give_terminal();  // it was faster than we were
    if (lent_) kill(program_.pid.v, SIGCONT);
  } else if (terminal_ && (is_job_control_stop(number) || typed_by_hand_)) {
    stop_with(number);
  }
  // Else nobody does job control here: whoever stopped it will continue it.
}

// In a pid namespace of its own the program is no child of ours: its init tells of it, and can itself end
// only with a code, never by a signal.
std::optional<int> StandIn::next_change() {
  int status = 0;
  if (program_.changes && read(program_.changes.get(), &status, sizeof status) == sizeof status)
    return status;
  const pid_t found = waitpid(program_.child.v, &status, WNOHANG | WUNTRACED);
  if (found < 0 && errno != EINTR) return W_EXITCODE(125, 0);  // somebody else waited: its status is lost
  if (found != program_.child.v) return std::nullopt;
  int told = 0;  // just before the init ended
  if (program_.changes && read(program_.changes.get(), &told, sizeof told) == sizeof told) return told;
  return status;
}

int StandIn::stand_for(RestartInfo program, const InterruptGuard& interrupt) {
  program_ = std::move(program);
  const sigset_t waited = waited_signals();
  sigprocmask(SIG_SETMASK, &waited, nullptr);
  give_terminal();
  if (const int earlier = interrupt.signal(); earlier != 0) kill(program_.pid.v, earlier);

  // SIGCHLD tells of a child's changes; those that come through the pipe are looked for at short intervals.
  constexpr timespec interval{0, 50'000'000};
  for (;;) {
    if (const auto status = next_change()) {
      if (!WIFSTOPPED(*status)) return end(*status);
      on_stop(WSTOPSIG(*status));
      continue;
    }
    siginfo_t info{};
    const int got = program_.changes ? sigtimedwait(&waited, &info, &interval) : sigwaitinfo(&waited, &info);
    if (got > 0 && got != SIGCHLD) pass_on(info);  // else EINTR or the interval: look again
  }
}

}  // namespace crs
