// SPDX-License-Identifier: Apache-2.0
// Rewind: a frozen process goes back to its own snapshot and stays the process that it is.
//
// What this file knows
//   A rollback need not make the process anew where little has changed. What it is made of now is collected
//   as for a checkpoint and compared, section by section, with what was saved: what is equal needs nothing,
//   and for what is not its kind says whether it can be put back (ResourceKind::can_rewind_from). Memory
//   comes from a keeper (memory_keeper.h), the pages that differ alone. Threads and descriptors that are new
//   end; threads that have ended are made again. All that can stand in the way is found before anything is
//   changed; then the process dies with us, as one that is restored does, and is finished like that.
// What it leaves to others
//   Everything else: a rollback by a new program (rollback.cc).
//
// Kernel interfaces: ptrace(2), mmap(2).   Round trip: tests/api/*savepoint*
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "engine/collection.h"
#include "engine/file_spaces.h"
#include "engine/frozen_state.h"
#include "engine/memory_rewind.h"
#include "engine/remote_calls.h"
#include "engine/restoration.h"
#include "gate/control_page.h"
#include "os/privileges.h"

namespace crs {
namespace {

constexpr auto patience = std::chrono::seconds(60);  // from the point of no return on
constexpr std::size_t calls_at_once = 10'000;

Error in_the_way(const std::string& what) {
  return Error(Errc::unsupported, what);
}

// Those that were not there then are not looked at: they will end.
class HiddenThreads {
 public:
  HiddenThreads(FrozenProcess& target, std::span<const NsPid> saved)
      : threads_(target.state().threads), all_(threads_) {
    std::erase_if(threads_, [&](const FrozenThread& thread) {
      return std::ranges::find(saved, thread.ns_tid) == saved.end();
    });
    if (threads_.empty()) threads_ = all_;
  }
  HiddenThreads(const HiddenThreads&) = delete;
  HiddenThreads& operator=(const HiddenThreads&) = delete;
  ~HiddenThreads() { threads_ = std::move(all_); }

 private:
  std::vector<FrozenThread>& threads_;
  std::vector<FrozenThread> all_;
};

Result<state::DeletedFiles> deleted_files_in(std::string_view bytes) {
  state::DeletedFiles files;
  CRS_CHECK(from_section(bytes, files));
  for (auto& file : *files.mutable_files()) {
    if (file.path() != std::string(memory_file_prefix) + control_name)
      return in_the_way("the process has a deleted file: " + file.path());
    file.clear_mtime_ns();
    file.clear_atime_ns();
    file.clear_pages();
  }
  return files;
}

// Sealed memory (mseal(2), since Linux 6.10) can be neither unmapped nor protected otherwise.
Status check_unsealed(const ProcDir& proc) {
  CRS_TRY(const std::string text, proc.read("smaps"));
  for (std::size_t at = text.find("VmFlags:"); at != std::string::npos; at = text.find("VmFlags:", at + 1)) {
    const std::string_view line = std::string_view(text).substr(at, text.find('\n', at) - at);
    if (line.find(" sl") != std::string_view::npos) return in_the_way("it has sealed memory");
  }
  return ok();
}

}  // namespace

Result<RewindPlan> Restoration::plan_rewind(FrozenProcess& target,
                                            std::span<const KindInfo* const> table) const {
  if (!keeper_) return in_the_way("its memory is not kept by a process");
  if (target.ended_leader() || threads_.ended_leader()) return in_the_way("its first thread has ended");
  if (target.group_stopped() || threads_.stopped()) return in_the_way("it is stopped");
  const std::set<int> saved_descriptors = descriptors_.numbers();
  RewindPlan plan;
  CRS_TRY(const auto fds, target.proc().fds());
  for (const RemoteFd fd : fds) {
    if (!saved_descriptors.contains(fd.v)) plan.surplus.push_back(fd);
  }
  Collection now(table);
  Blockers blockers;
  {
    const HiddenThreads hidden(target, threads_.ids());
    CRS_CHECK(now.collect(target, {}, blockers, nullptr, options_.deadline, &saved_descriptors,
                          MemoryDetail::layout));
  }
  if (!blockers.empty())
    return in_the_way(blockers.list().front().object + ": " + blockers.list().front().reason);
  CRS_TRY(const auto sections, now.sections());
  const auto is_equal = [&](std::string_view name) -> Result<bool> {
    const auto found = sections.find(std::string(name));
    if (!snapshot_.has_section(name)) return false;
    CRS_TRY(const std::string_view saved, snapshot_.section(name));
    return found != sections.end() && found->second == saved;
  };
  CRS_TRY(const bool same_descriptors, is_equal(DescriptorTable::section));
  if (!same_descriptors) return in_the_way("its descriptors are others");
  CRS_TRY(const std::string_view saved_files, snapshot_.section(DeletedFiles::section));
  CRS_TRY(const auto files_then, deleted_files_in(saved_files));
  CRS_TRY(const auto files_now, deleted_files_in(sections.at(std::string(DeletedFiles::section))));
  if (files_then.SerializeAsString() != files_now.SerializeAsString())
    return in_the_way("its deleted files are others");
  for (const ActiveKind& each : kinds_) {
    CRS_TRY(const bool equal, is_equal(each.info->section));
    if (equal) {
      plan.equal.insert(each.info->section);
      continue;
    }
    const auto found = sections.find(each.info->section);
    if (found == sections.end()) return in_the_way(std::string(each.info->section) + " is unknown");
    CRS_TRY(const bool can, each.kind->can_rewind_from(found->second).context(each.info->section));
    if (!can) return in_the_way("what " + std::string(each.info->section) + " saves has changed");
  }
  const auto is_alive = [&](NsPid id) {
    return std::ranges::any_of(target.threads(), [id](const auto& thread) { return thread.ns_tid == id; });
  };
  if (!std::ranges::all_of(threads_.ids(), is_alive) && !may_choose_pids())
    return in_the_way(
        "a thread has ended, and to give a new one its id takes root or CAP_CHECKPOINT_RESTORE");
  if (target.status().number("VmLck").value_or(1) != 0) return in_the_way("it has locked memory");
  CRS_TRY(plan.memory, MemoryRewind::plan(memory_.map(), now.memory().map()).context("memory"));
  if (plan.memory.changes_layout()) CRS_CHECK(check_unsealed(target.proc()));
  StagingArea area;
  area.size = StagingArea::landing_size;
  std::vector<PageRange> taken;
  for (const Vma& vma : target.vmas()) taken.push_back({vma.start, vma.end});
  const auto room = area.find_room(memory_.map(), taken);
  if (!room) return in_the_way("no room is left in its address space");
  plan.landing = RemoteAddr(*room);
  return plan;
}

// The landing, from which the calls are made. From now on the process dies with us.
Status Restoration::take_over(FrozenProcess& target, RemoteAddr landing) {
  const auto set_options = [&](long options) -> Status {
    for (const FrozenThread& thread : target.threads()) {
      if (ptrace(PTRACE_SETOPTIONS, thread.tid.v, nullptr, options) != 0)
        return Error::from_errno(errno, "set how " + to_string(thread.tid) + " is traced", Errc::target_gone);
    }
    return ok();
  };
  CRS_CHECK(set_options(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
  CallBatch batch;
  const auto mapped =
      batch.try_call(SYS_mmap, landing, StagingArea::landing_size, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  const RemoteJob job{0, &batch};
  auto status = make_remote_calls(target, std::span(&job, 1), options_.deadline);
  if (status && batch.result(mapped) == static_cast<std::int64_t>(landing.v)) return ok();
  CRS_CHECK(set_options(PTRACE_O_TRACESYSGOOD));
  return in_the_way(status ? "it may not have memory for the calls that put it back"
                           : status.error().message());
}

Status Restoration::rewind_memory(Rebuilder& rebuilder, const FrozenProcess& target, const RewindPlan& plan) {
  const auto run_in_parts = [&]() -> Status {
    return rebuilder.leader().size() < calls_at_once ? ok() : rebuilder.run();
  };
  for (const RemoteFd fd : plan.surplus) {
    rebuilder.leader().try_call(SYS_close, fd);
    CRS_CHECK(run_in_parts());
  }
  CRS_CHECK(rebuilder.unregister_rseq());
  CRS_CHECK(rebuilder.run());
  CRS_CHECK(rebuilder.end_surplus_threads());
  plan.memory.queue_layout(rebuilder.leader());
  CRS_CHECK(rebuilder.run());
  CRS_TRY(const auto difference, plan.memory.compare(target, *keeper_, options_.workers));
  for (std::size_t from = 0; from < difference.dropped.size(); from += calls_at_once) {
    const std::size_t count = std::min(calls_at_once, difference.dropped.size() - from);
    MemoryRewind::queue_drops(std::span(difference.dropped).subspan(from, count), rebuilder.leader());
    CRS_CHECK(rebuilder.run());
  }
  CRS_CHECK(MemoryRewind::write(target, difference, *keeper_, rebuilder.memory()));
  return write_control_page(rebuilder);
}

// The one shared memory that is put back: what it held is in the page file.
Status Restoration::write_control_page(const Rebuilder& rebuilder) const {
  const auto& map = memory_.map();
  if (!snapshot_.has_pages()) return ok();
  for (const state::Mapping& mapping : map.mappings()) {
    if (mapping.type() != state::Mapping::SHARED_FILE) continue;
    const std::uint32_t file = map.files(static_cast<int>(mapping.index())).deleted_file();
    if (file == 0) continue;
    const auto& pages = snapshot_.pages();
    for (std::size_t index = 0; index < pages.chunk_count(); ++index) {
      const auto chunk = pages.chunk(index);
      if (chunk.runs.empty() || chunk.runs.front().space != first_file_space + file - 1) continue;
      std::vector<Bytes> bytes;
      std::vector<std::span<std::byte>> into;
      for (const store::PageRun& run : chunk.runs) bytes.emplace_back(std::uint64_t{run.pages} * page_size);
      for (Bytes& each : bytes) into.emplace_back(each);
      CRS_CHECK(pages.read_chunk(index, into));
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::uint64_t at = chunk.runs[i].address - mapping.offset();
        if (chunk.runs[i].address < mapping.offset() ||
            at + bytes[i].size() > mapping.end() - mapping.start())
          continue;
        CRS_CHECK(pwrite_all(rebuilder.memory(), bytes[i], mapping.start() + at, "the control page"));
      }
    }
  }
  return ok();
}

Status Restoration::finish_rewind(Rebuilder& rebuilder, const RewindPlan& plan) {
  CRS_CHECK(rebuilder.create_threads(threads_.ids()));
  threads_.rebuild(rebuilder);
  CRS_CHECK(rebuilder.run());
  for (const Phase phase : all_phases) {
    for (const ActiveKind& each : kinds_) {
      if (each.info->phase != phase) continue;
      RewindContext context{rebuilder, plan.equal.contains(each.info->section),
                            [this](std::uint32_t id) { return descriptors_.first_of(id); }};
      CRS_CHECK(each.kind->rewind(context).context(each.info->section));
    }
    if (phase == Phase::last) CRS_CHECK(commit(rebuilder));
    CRS_CHECK(rebuilder.run());
  }
  return let_go(rebuilder, plan.landing, StagingArea::landing_size);
}

Status Restoration::rewind(FrozenProcess& target, const RewindPlan& plan, std::vector<std::string>& notes) {
  CRS_CHECK(take_over(target, plan.landing));
  Rebuilder::Setup setup{options_.restore,
                         target.pid(),
                         threads_.process(),
                         plan.landing,
                         StagingArea::landing_size,
                         -1,
                         Deadline::after(patience),
                         [&](std::string text) { notes.push_back(std::move(text)); },
                         true};
  Rebuilder rebuilder(std::move(setup));
  const auto all = [&]() -> Status {
    CRS_CHECK(rebuilder.adopt(target, threads_.ids()));
    CRS_CHECK(rewind_memory(rebuilder, target, plan));
    return finish_rewind(rebuilder, plan);
  };
  target.state().released = true;  // its threads must not get the registers back that they had
  auto status = all();
  if (status) return ok();
  kill(target.pid().v, SIGKILL);
  Error error = std::move(status).error();
  if (error.code() == Errc::unsupported) error.set_code(Errc::kernel);
  return error;
}

}  // namespace crs
