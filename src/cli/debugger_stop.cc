// SPDX-License-Identifier: Apache-2.0
#include "cli/debugger_stop.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "os/file_io.h"
#include "os/proc.h"

namespace crs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int look_interval_ms = 20;
constexpr std::chrono::seconds until_it_stands{10};  // SIGSTOP was sent; on a busy machine it takes a while

// What crs says to the guard, and the guard to crs.
enum Word : char {
  stands = 's',
  never_stood = 'x',
  attached = 'd',
  nobody_came = 'n',
  continued = 'c',
  ended = 'e'
};

struct Look {
  bool there = false;         // it has threads that live
  bool stopped = false;       // one of them, by job control or by a tracer
  bool traced = false;        // one of them, by anybody
  bool all_debugged = false;  // and stand before their debugger
};

bool is_crs(std::uint64_t pid, const std::string& own_program) {
  const auto program = read_link("/proc/" + std::to_string(pid) + "/exe");
  return program && *program == own_program;
}

Look look_at(Pid pid, const std::string& own_program) {
  Look look;
  const auto proc = ProcDir::open(pid);
  if (!proc) return look;
  const auto tasks = proc->tasks();
  if (!tasks) return look;
  look.all_debugged = true;
  for (const Tid tid : *tasks) {
    const auto text = proc->read("task/" + std::to_string(tid.v) + "/status");
    if (!text) continue;
    const ProcFields fields = ProcFields::parse(*text);
    const char state = fields.find("State").value_or("Z").front();
    if (state == 'Z' || state == 'X') continue;
    look.there = true;
    if (state == 'T' || state == 't') look.stopped = true;
    const std::uint64_t tracer = fields.number("TracerPid").value_or(0);
    if (tracer != 0) look.traced = true;
    if (tracer == 0 || state != 't' || is_crs(tracer, own_program)) look.all_debugged = false;
  }
  return look;
}

void let_go(int pidfd) {
  syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, nullptr, 0u);
}

// Waits a moment for a word of crs. nullopt: there is none; '\0': crs has ended.
std::optional<char> hear(int channel) {
  pollfd readable{channel, POLLIN, 0};
  if (poll(&readable, 1, look_interval_ms) <= 0) return std::nullopt;
  char word = 0;
  return recv(channel, &word, 1, 0) == 1 ? word : '\0';
}

void say(int channel, char word) {
  (void)!send(channel, &word, 1, MSG_NOSIGNAL);
}

void wait_a_moment() {
  poll(nullptr, 0, look_interval_ms);
}

// The guard's life.
void guard_it(Pid pid, int pidfd, int channel, std::chrono::seconds limit, const std::string& own_program) {
  std::optional<char> word;
  while (!(word = hear(channel))) {
    if (!look_at(pid, own_program).there) return;
  }
  if (*word == never_stood) return;
  // crs has ended without a word: perhaps just after it had stopped the process.
  if (*word != stands) return let_go(pidfd);

  const auto begun = Clock::now();
  bool stood = false;
  int seen = 0;  // looks in a row with all threads in the debugger's hands
  for (;;) {
    const Look look = look_at(pid, own_program);
    if (!look.there) return say(channel, ended);
    stood = stood || look.stopped;
    seen = look.all_debugged ? seen + 1 : 0;
    if (seen == 3) break;
    if (!look.traced && !look.stopped && (stood || Clock::now() - begun > until_it_stands))
      return say(channel, continued);
    if (!look.traced && Clock::now() - begun > limit) {
      let_go(pidfd);
      return say(channel, nobody_came);
    }
    if (word = hear(channel); word == '\0') return let_go(pidfd);
  }
  let_go(pidfd);
  say(channel, attached);
  for (;;) {
    wait_a_moment();
    const Look look = look_at(pid, own_program);
    if (!look.there) return;
    if (look.traced) continue;
    if (look.stopped) let_go(pidfd);
    return;
  }
}

[[noreturn]] void be_guard(Pid pid, int pidfd, int channel, std::chrono::seconds limit) {
  // No signal but SIGKILL ends it: it has something to end itself.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  setsid();
  prctl(PR_SET_NAME, "crs-guard");
  const std::string own_program = read_link("/proc/self/exe").value_or("");
  // It holds nothing that anybody waits for.
  const int low = std::min(pidfd, channel), high = std::max(pidfd, channel);
  if (low > 0) syscall(SYS_close_range, 0u, static_cast<unsigned>(low - 1), 0u);
  if (high - low > 1)
    syscall(SYS_close_range, static_cast<unsigned>(low + 1), static_cast<unsigned>(high - 1), 0u);
  syscall(SYS_close_range, static_cast<unsigned>(high + 1), ~0u, 0u);
  (void)!chdir("/");
  guard_it(pid, pidfd, channel, limit, own_program);
  _exit(0);
}

}  // namespace

void DebuggerOptions::declare(CLI::App& app, std::initializer_list<CLI::Option*> excluded) {
  auto* attach = app.add_flag("--attach-debugger", attach_,
                              "let it stand until a debugger has it, or none has come in time");
  for (CLI::Option* option : excluded) attach->excludes(option);
  app.add_flag("--detach-debugger", detach_, "let it run, whatever service.attach_debugger says")
      ->excludes(attach);
  app.add_option("--debugger-limit", limit_,
                 "how long it stands without a debugger (service.debugger_limit: 60)")
      ->type_name("SECONDS")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}));
}

bool DebuggerOptions::wanted(const Service& service) const {
  return attach_ || (!detach_ && service.parameters().view("service").boolean("attach_debugger"));
}

std::chrono::seconds DebuggerOptions::limit(const Service& service) const {
  return std::chrono::seconds(limit_ != 0 ? limit_
                                          : service.parameters().view("service").integer("debugger_limit"));
}

Result<DebuggerStop> DebuggerStop::guard(Pid pid, std::chrono::seconds limit) {
  OwnedFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid.v, 0)));
  if (!pidfd) return Error::from_errno(errno, "pidfd_open of " + to_string(pid), Errc::not_found);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return Error::from_errno(errno, "socketpair");
  OwnedFd ours(ends[0]), its(ends[1]);
  const pid_t guard = fork();
  if (guard < 0) return Error::from_errno(errno, "make the guard of a process that waits for a debugger");
  if (guard == 0) {
    ours.reset();
    be_guard(pid, pidfd.get(), its.get(), limit);
  }
  return DebuggerStop(pid, std::move(pidfd), std::move(ours), limit);
}

bool DebuggerStop::is_stopped(Pid pid) {
  return look_at(pid, "").stopped;
}

DebuggerStop::~DebuggerStop() {
  if (channel_) say(channel_.get(), never_stood);
}

std::string DebuggerStop::invitation() const {
  const std::string number = std::to_string(pid_.v);
  std::string command = "gdb -p " + number;
  // In a pid namespace of its own a debugger outside would take its numbers for others, and find none of its
  // files.
  const auto proc = ProcDir::open(pid_);
  const auto status = proc ? proc->status() : proc.error();
  const auto numbers = status ? status->numbers("NSpid") : std::vector<std::uint64_t>();
  if (numbers.size() > 1) {
    const auto ours = read_link("/proc/self/ns/user"), its = read_link("/proc/" + number + "/ns/user");
    const bool other_user_namespace = ours && its && *ours != *its;
    command = "nsenter -t " + number + (other_user_namespace ? " -U --preserve-credentials" : "") +
              " -m -p gdb -p " + std::to_string(numbers.back());
  }
  return to_string(pid_) + " waits for a debugger: " + command;
}

std::string DebuggerStop::wait(const InterruptGuard& interrupt) {
  const OwnedFd channel = std::move(channel_);
  say(channel.get(), stands);
  for (bool interrupted = false;;) {
    if (interrupt.signal() != 0 && !interrupted) {
      interrupted = true;
      shutdown(channel.get(), SHUT_WR);  // the guard ends the stop
    }
    pollfd readable{channel.get(), POLLIN, 0};
    if (poll(&readable, 1, look_interval_ms) <= 0) continue;
    char word = 0;
    if (recv(channel.get(), &word, 1, 0) != 1) {
      // It has ended, by itself after an interruption: once more does no harm.
      let_go(pidfd_.get());
      return interrupted ? "the wait for a debugger was interrupted; the process runs on"
                         : "the guard of the stop has ended; the process runs on without a debugger";
    }
    switch (word) {
      case attached: return "";
      case nobody_came:
        return "no debugger came within " + std::to_string(limit_.count()) + " s; the process runs on";
      case continued: return "somebody has continued the process, which waits for a debugger no more";
      default: return "the process has ended";
    }
  }
}

}  // namespace crs
