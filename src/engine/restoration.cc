// SPDX-License-Identifier: Apache-2.0
#include "engine/restoration.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "engine/error_message.h"
#include "engine/interrupted_calls.h"
#include "engine/owned_process.h"

namespace crs {
namespace {

Result<Pid> clone_with_number(NsPid number) {
  clone_args arguments{};
  const pid_t wanted = number.v;
  arguments.exit_signal = SIGCHLD;
  arguments.set_tid = reinterpret_cast<std::uint64_t>(&wanted);
  arguments.set_tid_size = 1;
  for (int attempt = 0;; ++attempt) {
    const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid >= 0) return Pid(static_cast<pid_t>(pid));
    if (errno == EINTR || errno == EAGAIN) {
      if (attempt < 10) continue;
    }
    if (errno == EEXIST) return Error(Errc::busy, "the pid " + to_string(number) + " is in use");
    return Error::from_errno(errno, "create a process with pid " + to_string(number));
  }
}

Status stop_ourselves() {
  if (syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSTOP) != 0)
    return Error::from_errno(errno, "stop");
  return ok();
}

// The C library registered both for us; the kernel would look at memory that is gone. (The restartable
// sequence is the rebuilder's business.)
Status unregister_from_kernel() {
  constexpr std::size_t list_head_size = 24;
  if (syscall(SYS_set_robust_list, nullptr, list_head_size) != 0)
    return Error::from_errno(errno, "set_robust_list");
  syscall(SYS_set_tid_address, nullptr);
  return ok();
}

}  // namespace

Status Restoration::load() {
  const auto read = [&](std::string_view name, auto& part) -> Status {
    CRS_TRY(const std::string_view bytes, snapshot_.section(name));
    return part.load(bytes).context(std::string(name));
  };
  CRS_CHECK(read(ThreadTable::section, threads_));
  CRS_CHECK(read(MemoryMap::section, memory_));
  CRS_CHECK(read(DescriptorTable::section, descriptors_));
  // A snapshot of an older version may lack a section that is newer than it.
  if (snapshot_.has_section(DeletedFiles::section)) CRS_CHECK(read(DeletedFiles::section, deleted_files_));
  for (const ActiveKind& each : kinds_) {
    if (!snapshot_.has_section(each.info->section)) continue;
    CRS_CHECK(read(each.info->section, *each.kind));
  }
  return ok();
}

Status Restoration::check(Blockers& blockers) {
  const auto is_replaced = [this](std::uint32_t id) {
    return descriptors_.is_replaced(id, options_.restore);
  };
  CheckContext context{snapshot_, options_.restore, blockers, is_replaced};
  blockers.set_kind(ThreadTable::section);
  CRS_CHECK(threads_.check(context));
  if (threads_.has_terminal() && !options_.restore.in_place && !joins_our_session()) {
    blockers.note(
        "the program led a session with a terminal of its own, and this restart has no terminal to lend it: "
        "it comes "
        "back without one");
  }
  blockers.set_kind(MemoryMap::section);
  CRS_CHECK(memory_.fit_vdso([this](AddressRange code) { return is_in_the_middle_of(code); }, blockers));
  CRS_CHECK(memory_.check(context));
  blockers.set_kind(DeletedFiles::section);
  CRS_CHECK(deleted_files_.check(context));
  blockers.set_kind(DescriptorTable::section);
  CRS_CHECK(descriptors_.check(context, kinds_));
  for (const ActiveKind& each : kinds_) {
    blockers.set_kind(each.info->section);
    CRS_CHECK(each.kind->check(context).context(each.info->section));
  }
  blockers.set_kind(MemoryMap::section);
  if (auto found = find_keeper(); !found) {
    if (found.error().code() != Errc::not_found) return found;
    blockers.add("memory", found.error().message(), found.error().hint());
  }
  return space_.plan();
}

Status Restoration::find_keeper() {
  CRS_TRY(auto found, MemoryKeeper::find(snapshot_.manifest()));
  keeper_.reset();
  if (found) keeper_.emplace(std::move(*found));
  return ok();
}

// Whether a thread was running in `code`, or had left it only for a signal handler.
Result<bool> Restoration::is_in_the_middle_of(AddressRange code) const {
  std::vector<std::uint64_t> stack_pointers;
  std::vector<AddressRange> alternate_stacks;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    const user_regs_struct registers = threads_.registers(i);
    if (code.contains(registers.rip)) return true;
    stack_pointers.push_back(registers.rsp);
    alternate_stacks.push_back(threads_.alternate_stack(i));
  }
  if (!snapshot_.has_pages()) return false;
  SavedMemory memory(snapshot_.pages());
  return handler_interrupted(code, stack_pointers, alternate_stacks, memory_.map(), memory);
}

nlohmann::json Restoration::describe() const {
  nlohmann::json all = {{std::string(ThreadTable::section), threads_.describe()},
                        {std::string(MemoryMap::section), memory_.describe()},
                        {std::string(DeletedFiles::section), deleted_files_.describe()},
                        {std::string(DescriptorTable::section), descriptors_.describe(kinds_)}};
  if (auto left_out = memory_.describe_left_out(); !left_out.is_null()) all["left_out"] = std::move(left_out);
  for (const ActiveKind& each : kinds_) {
    auto description = each.kind->describe();
    if (!description.is_null()) all[each.info->section] = std::move(description);
  }
  return all;
}

// A restart that does not wait leaves the process's group without anybody of its session who could continue
// it: then the kernel ends what is stopped in it, by SIGHUP and SIGCONT (setpgid(2), "orphaned process
// group").
bool Restoration::needs_own_session() const {
  return threads_.stopped() && !threads_.leads_session() && !options_.restore.parent_waits;
}

// What was started as the leader of a session on a terminal (by script, tmux, ssh) keeps a terminal by
// joining the session of the restart: a terminal belongs to one session, and that one lends it
// (cli/stand_in.h).
bool Restoration::joins_our_session() const {
  if (!threads_.has_terminal() || !options_.restore.parent_waits) return false;
  return static_cast<bool>(open_file("/dev/tty", O_RDWR | O_NOCTTY));
}

// Before the program runs: in the background its first look at the terminal would stop it.
void Restoration::lend_terminal(Pid pid) const {
  if (!options_.restore.lend_terminal || !(threads_.leads_group() || threads_.has_terminal())) return;
  const auto terminal = open_file("/dev/tty", O_RDWR | O_NOCTTY);
  if (!terminal) return;
  const BlockedSignals blocked;                // SIGTTOU among them
  tcsetpgrp(terminal->get(), getpgid(pid.v));  // EPERM: it is in a session of its own and needs none
}

Status Restoration::take_session_and_group() const {
  const bool joins = joins_our_session();
  if ((threads_.leads_session() && !joins) || needs_own_session()) {
    if (setsid() < 0) return Error::from_errno(errno, "setsid");
  } else if (threads_.leads_group() || joins) {
    if (setpgid(0, 0) != 0) return Error::from_errno(errno, "setpgid");
  }
  return ok();
}

// In the forked copy. Everything but the last step is ordinary code.
Status Restoration::fill_inside(int channel) {
  if (!options_.restore.in_place) CRS_CHECK(take_session_and_group());
  InsideContext context{snapshot_,    options_.restore,   threads_.process(),
                        {-1, -1, -1}, executable_number_, &deleted_files_};
  for (int fd = 0; fd < 3; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) context.own_stdio[static_cast<std::size_t>(fd)] = fd;
  }
  const auto restore = [&](Phase phase) -> Status {
    for (const ActiveKind& each : kinds_) {
      if (each.info->phase == phase)
        CRS_CHECK(each.kind->restore_inside(context).context(each.info->section));
    }
    return ok();
  };
  CRS_CHECK(restore(Phase::process));
  // Both numbers are taken before others are made; the process image replaces the second.
  if (dup3(channel, channel_number_, O_CLOEXEC) < 0 || dup3(channel, executable_number_, O_CLOEXEC) < 0) {
    return Error::from_errno(errno, "keep descriptors open")
        .with_hint("the limit of open files (ulimit -n) is too low for this program");
  }
  CRS_CHECK(
      space_.fill(snapshot_, deleted_files_, keeper_, options_.workers, options_.deadline).context("memory"));
  CRS_CHECK(descriptors_.create(context, kinds_).context("descriptors"));
  for (const Phase phase :
       {Phase::descriptors, Phase::memory, Phase::threads, Phase::signals, Phase::timers, Phase::last}) {
    CRS_CHECK(restore(phase));
  }
  CRS_CHECK(deleted_files_.finish().context("deleted files"));
  const int keep[] = {channel_number_, executable_number_};
  CRS_CHECK(descriptors_.install(keep).context("descriptors"));
  return unregister_from_kernel();
}

void Restoration::run_inside(int channel) {
  auto status = fill_inside(channel);
  if (status) channel = channel_number_;
  if (status) status = stop_ourselves();  // from here on the engine moves us from outside
  PartReport report;
  if (!status) report.error = std::move(status).error();
  if (!report.error) report.error = Error(Errc::bug, "the copy of the restorer went on by itself");
  const std::string text = report.to_text();
  (void)!write(channel, text.data(), text.size());
  _exit(1);
}

// From outside, phase by phase.
Status Restoration::finish_outside(Rebuilder& rebuilder) {
  for (const Phase phase : all_phases) {
    if (phase == Phase::memory) {
      CRS_TRY(const ProcDir proc, ProcDir::open(rebuilder.pid()));
      CRS_TRY(const auto now, proc.maps());
      // The kernel counts in the restartable sequence's memory until it is unregistered, so that comes first.
      CRS_CHECK(rebuilder.unregister_rseq());
      CRS_CHECK(space_.rebuild(rebuilder.leader(), now));
      CRS_CHECK(rebuilder.run().context("memory"));
    }
    if (phase == Phase::threads) {
      CRS_CHECK(rebuilder.create_threads(threads_.ids()));
      threads_.rebuild(rebuilder);
    }
    for (const ActiveKind& each : kinds_) {
      if (each.info->phase == phase) CRS_CHECK(each.kind->rebuild(rebuilder).context(each.info->section));
    }
    if (phase == Phase::signals) {
      // Before record locks are taken, which a process loses with any descriptor of the file that it closes.
      rebuilder.leader().try_call(SYS_close, rebuilder.executable_fd());
      rebuilder.leader().try_call(SYS_close, channel_number_);
    }
    if (phase == Phase::timers) space_.finish(rebuilder.leader());
    if (phase == Phase::last) {
      CRS_CHECK(options_.deadline.check("the process was being rebuilt"));
      CRS_CHECK(commit(rebuilder));
    }
    CRS_CHECK(rebuilder.run());
  }
  return let_go(rebuilder, space_.landing(), space_.hole_size());
}

Status Restoration::commit(Rebuilder& rebuilder) {
  CommitContext context{snapshot_, options_.restore,
                        [&](std::string text) { rebuilder.note(std::move(text)); },
                        [this](std::uint32_t id) { return descriptors_.is_replaced(id, options_.restore); }};
  for (const ActiveKind& each : kinds_) CRS_CHECK(each.kind->commit(context).context(each.info->section));
  return ok();
}

Status Restoration::let_go(Rebuilder& rebuilder, RemoteAddr hole, std::uint64_t size) {
  std::vector<user_regs_struct> registers;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    registers.push_back(threads_.registers(i));
    if (!needs_restart_block(registers[i])) continue;
    CRS_TRY(registers[i], rebuilder.wait_again(threads_.ids()[i], registers[i], threads_.limit_left(i)));
  }
  if (const auto ended = threads_.ended_leader()) CRS_CHECK(rebuilder.end_leader(*ended));
  CRS_CHECK(rebuilder.leave(threads_.ids().front(), hole, size));
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (is_interrupted(registers[i])) CRS_CHECK(rebuilder.to_signal_stop(threads_.ids()[i]));
    CRS_CHECK(threads_.set_state(i, rebuilder.host_tid(threads_.ids()[i]), registers[i]));
    const auto left = threads_.shortened(i);
    if (left && is_interrupted(registers[i])) rebuilder.shorten(threads_.ids()[i], registers[i], *left);
  }
  CRS_CHECK(rebuilder.run_first());
  if (threads_.stopped() || options_.stands) kill(rebuilder.pid().v, SIGSTOP);
  lend_terminal(rebuilder.pid());
  return rebuilder.detach();
}

Status Restoration::take_numbers_aside() {
  CRS_TRY(std::tie(channel_number_, executable_number_), descriptors_.two_numbers_aside());
  return ok();
}

Result<Pid> Restoration::create(std::vector<std::string>& notes) {
  if (needs_own_session())
    notes.push_back("the program is stopped, and leads a session of its own from now on");
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return Error::from_errno(errno, "socketpair");
  OwnedFd ours(ends[0]);
  OwnedFd theirs(ends[1]);
  CRS_CHECK(take_numbers_aside());
  const NsPid number = threads_.process();
  // Only the copy keeps them blocked: we ourselves must hear of Ctrl-C.
  const auto make_copy = [&] {
    BlockedSignals blocked;
    auto made = clone_with_number(number);
    if (made && made->v == 0) blocked.keep();
    return made;
  };
  CRS_TRY(const Pid pid, make_copy());
  if (pid.v == 0) {
    // Not before the tracer has us: it must see the stop at the end.
    ours.reset();
    char go = 0;
    if (read(theirs.get(), &go, 1) != 1) _exit(1);
    run_inside(theirs.get());
  }
  OwnedProcess child(pid);
  theirs.reset();
  if (ptrace(PTRACE_SEIZE, pid.v, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
    return Error::from_errno(errno, "seize the new process");
  }
  if (write(ours.get(), "g", 1) != 1) return Error::from_errno(errno, "start the new process");
  CRS_CHECK(finish(pid, ours.get(), notes));
  return child.release();
}

Status Restoration::finish(Pid pid, int channel, std::vector<std::string>& notes) {
  Rebuilder::Setup setup{
      options_.restore,          pid,
      threads_.process(),        space_.landing(),
      StagingArea::landing_size, executable_number_,
      options_.deadline,         [&](std::string text) { notes.push_back(std::move(text)); }};
  Rebuilder rebuilder(std::move(setup));
  if (auto status = rebuilder.begin(); !status) {
    // It ended by itself: it says why.
    std::string text(65536, '\0');
    const ssize_t got = recv(channel, text.data(), text.size(), MSG_DONTWAIT);
    if (got > 0) {
      text.resize(static_cast<std::size_t>(got));
      if (auto report = PartReport::parse(text); report && report->error) return std::move(*report->error);
    }
    return status;
  }
  return finish_outside(rebuilder);
}

}  // namespace crs
