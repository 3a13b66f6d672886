// SPDX-License-Identifier: Apache-2.0
// Checkpoint: freeze, ask, collect, refuse or save, let go, make durable.
//
// What this file knows
//   The process stands still from the first stop to the end of its memory's copy. With `terminate` or `stop`
//   it is kept still until the snapshot is durable, so that nothing it does in between is lost or done twice.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "engine/collection.h"
#include "engine/engine.h"
#include "engine/frozen_state.h"
#include "engine/memory_keeper.h"
#include "os/clocks.h"

namespace crs {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> split_at_nul(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\0', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// When it was stopped, by its own clocks.
Status describe_clocks(const FrozenProcess& target, store::Manifest& manifest) {
  CRS_TRY(const SystemClocks ours, clock_offsets(Pid(getpid())));
  // A leader that has ended lives in no namespace any more.
  CRS_TRY(const SystemClocks its, clock_offsets(Pid(target.living_thread().v)));
  const SystemClocks now = read_clocks();
  const auto since = now.monotonic - target.stopped_at();
  const SystemClocks then = now - SystemClocks{since, since} - ours + its;
  manifest.clocks = store::ManifestClocks{.monotonic_ns = then.monotonic.count(),
                                          .boottime_ns = then.boottime.count(),
                                          .monotonic_offset_ns = its.monotonic.count(),
                                          .boottime_offset_ns = its.boottime.count()};
  return ok();
}

Status describe(const FrozenProcess& target, store::Manifest& manifest) {
  utsname system{};
  if (uname(&system) != 0) return Error::from_errno(errno, "uname");
  manifest.host = system.nodename;
  manifest.architecture = system.machine;
  manifest.kernel = system.release;
  manifest.boot_id = boot_id();
  CRS_CHECK(describe_clocks(target, manifest));
  manifest.pid = target.ns_pid().v;
  manifest.command = target.stat().comm;
  CRS_TRY(manifest.executable, target.proc().read_link("exe"));
  CRS_TRY(const std::string arguments, target.proc().read("cmdline"));
  manifest.arguments = split_at_nul(arguments);
  const auto uids = target.status().numbers("Uid");
  manifest.uid = uids.empty() ? 0 : static_cast<std::uint32_t>(uids[0]);
  manifest.threads = target.threads().size();
  return ok();
}

// Resident memory that is not of files, as a guess (proc(5), statm). 0 when the process cannot be looked at.
std::uint64_t private_memory(Pid pid) {
  const auto text = read_file("/proc/" + std::to_string(pid.v) + "/statm");
  unsigned long long size = 0, resident = 0, shared = 0;
  if (!text || std::sscanf(text->c_str(), "%llu %llu %llu", &size, &resident, &shared) != 3)
    return 0;  // NOLINT: fixed format
  return resident > shared ? (resident - shared) * page_size : 0;
}

Status send(const FrozenProcess& target, int signal) {
  // The pidfd may be one of a thread, but a kernel that has such has the flag as well.
  constexpr unsigned whole_process = 2;  // PIDFD_SIGNAL_THREAD_GROUP, since Linux 6.9
  const unsigned flags = target.ended_leader() ? whole_process : 0;
  if (syscall(SYS_pidfd_send_signal, target.pidfd(), signal, nullptr, flags) != 0 && errno != ESRCH) {
    return Error::from_errno(errno, "send a signal to " + to_string(target.pid()));
  }
  return ok();
}

// With its hooks, if it has any: they need the process to run.
Status end(std::optional<FrozenProcess>& target, const CheckpointOptions& options, CheckpointReport& report) {
  if (options.gate == nullptr || !options.gate->hooks().is_waiting()) {
    CRS_CHECK(send(*target, SIGKILL));
    target.reset();
    return ok();
  }
  target.reset();
  if (auto note = options.gate->end_hooks(options.deadline)) report.notes.push_back(std::move(*note));
  return options.gate->kill();
}

// nullopt: it can have none, and its memory must be written.
Result<std::optional<MemoryKeeper>> make_keeper(FrozenProcess& target, const CheckpointOptions& options,
                                                Blockers& blockers) {
  auto keeper = MemoryKeeper::create(target, options.deadline);
  if (keeper) return std::optional<MemoryKeeper>(std::move(*keeper));
  if (keeper.error().code() != Errc::refused) return std::move(keeper).error();
  blockers.note(keeper.error().message());
  return std::optional<MemoryKeeper>();
}

}  // namespace

Result<CheckpointReport> Engine::checkpoint(Pid pid, store::SnapshotWriter& writer, store::Manifest manifest,
                                            const CheckpointOptions& options, Events& events) const {
  const auto start = Clock::now();
  CheckpointReport report;
  Collection collection(kinds_);
  Blockers blockers;
  std::optional<FrozenProcess> target;  // outlives the saver
  PageSaver saver(private_memory(pid));
  events.phase("freeze");
  timespec now{};
  for (;;) {
    if (options.gate != nullptr) {
      CRS_CHECK(
          options.gate->await_open(options.deadline, [&](const std::string& text) { events.delayed(text); }));
    }
    CRS_TRY(FrozenProcess frozen, FrozenProcess::freeze(pid, options.deadline));
    if (options.gate != nullptr && !options.gate->is_open()) continue;  // a thread slipped in
    target.emplace(std::move(frozen));
    break;
  }
  const Clock::time_point frozen_at(target->stopped_at());  // a steady_clock is CLOCK_MONOTONIC
  clock_gettime(CLOCK_REALTIME, &now);
  manifest.created_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec;

  events.phase("collect");
  CRS_TRY(auto keeper, options.keep_memory ? make_keeper(*target, options, blockers)
                                           : Result<std::optional<MemoryKeeper>>(std::nullopt));
  CRS_CHECK(collection.collect(*target, options.memory, blockers, &writer, options.deadline, nullptr,
                               keeper ? MemoryDetail::unkept : MemoryDetail::contents));
  report.notes = blockers.notes();
  CRS_CHECK(blockers.to_status(to_string(pid) + " (" + target->stat().comm + ") cannot be saved"));
  CRS_CHECK(describe(*target, manifest));
  CRS_CHECK(collection.save(writer));

  events.phase("memory");
  PageSaverOptions saving;
  saving.workers = options.workers;
  saving.deadline = options.deadline;
  saving.progress = [&](std::uint64_t done, std::uint64_t total) { events.progress(done, total); };
  saver.start(*target, collection.memory().contents(), writer.pages(), saving);
  CRS_CHECK(saver.wait_read());
  manifest.memory_bytes = collection.memory().content_bytes() + (keeper ? private_memory(pid) : 0);
  manifest.left_out_bytes = report.left_out_bytes = collection.memory().left_out_bytes();
  if (collection.needs_rebuilding()) manifest.version = store::format_with_rebuilding;
  report.left_out_regions = collection.memory().left_out_regions();
  report.threads = target->threads().size();
  report.memory_bytes = manifest.memory_bytes;
  report.stop = Clock::now() - frozen_at;
  manifest.stop_ns = static_cast<std::uint64_t>(report.stop.count());
  if (options.after == AfterCapture::run) {
    target.reset();
    if (options.gate != nullptr) options.gate->release();
  }
  CRS_CHECK(saver.finish());

  events.phase("commit");
  CRS_CHECK(options.deadline.check("the snapshot was being made durable"));
  if (keeper) {
    keeper->describe(manifest);
    CRS_CHECK(keeper->stay());
  }
  CRS_TRY(report.path, writer.commit(std::move(manifest)));
  if (keeper) keeper->release();
  report.stored_bytes = writer.page_summary().stored_bytes;
  if (options.after == AfterCapture::terminate) {
    CRS_CHECK(end(target, options, report));
  } else if (options.after == AfterCapture::stop) {
    CRS_CHECK(send(*target, SIGSTOP));
    target.reset();
    report.stop = Clock::now() - frozen_at;
  }
  for (const std::string& note : report.notes) events.note(note);
  report.total = Clock::now() - start;
  return report;
}

Result<ExamineReport> Engine::examine(Pid pid, const MemoryOptions& memory, Deadline deadline) const {
  ExamineReport report;
  Collection collection(kinds_);
  Clock::time_point start;
  {
    CRS_TRY(FrozenProcess target, FrozenProcess::freeze(pid, deadline));
    start = Clock::time_point(target.stopped_at());
    report.command = target.stat().comm;
    CRS_CHECK(collection.collect(target, memory, report.blockers, nullptr, deadline));
    report.threads = target.threads().size();
    report.mappings = target.vmas().size();
  }
  report.stop = Clock::now() - start;
  report.descriptors = collection.descriptors();
  report.memory_bytes = collection.memory().content_bytes();
  report.left_out_bytes = collection.memory().left_out_bytes();
  report.left_out_regions = collection.memory().left_out_regions();
  return report;
}

}  // namespace crs
