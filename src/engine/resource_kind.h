// ResourceKind: one kind of kernel object, both ways.
//
// How to add a kind
//   1. Write src/engine/kinds/x.cc (and x.proto beside it): a class derived from ResourceKind, in an
//   anonymous
//      namespace, and as its last lines the registration:
//        extern constinit const KindInfo kind_x{
//            .section = "x", .phase = Phase::process,
//            .make = []() -> std::unique_ptr<ResourceKind> { return std::make_unique<X>(); }};
//      The file name is the registration; CMake makes the table. `section` is its name in snapshots: never
//      reused, never changed.
//   2. Write tests/targets/x_*.cc.
//   Nothing else. Kinds do not include each other. Order between phases is told at Phase; within a phase it
//   must not matter, and the tests shuffle it.
//
// A checkpoint calls, on a fresh object: ask, [the calls run], collect, save.
// A restart calls, on a fresh object: load, check | restore_inside | rebuild (per phase), commit.
// A rollback that needs no new process: load, check | can_rewind_from | rewind (per phase), commit.
#pragma once

#include <sys/stat.h>

#include <array>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/blockers.h"
#include "engine/call_batch.h"
#include "engine/frozen_process.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "store/snapshot.h"

namespace crs {

class DeletedFiles;   // engine/deleted_files.h
class LeftOutMemory;  // engine/left_out_memory.h

// When a kind's restore_inside() and rebuild() run. What holds at the start of each (restart):
enum class Phase : std::uint8_t {
  process,      // inside: a plain forked copy of the restorer, all signals blocked, under its final pid.
  descriptors,  // inside: process attributes that files depend on (cwd, umask, limits raised) are set.
  memory,       // inside: regions are filled at a free place. rebuild: the restorer's own memory is gone, all
                // regions are
                //   in place after it.
  threads,      // rebuild: all threads exist, with their ids; each has a batch of its own.
  signals,      // rebuild: threads have their own state; everything is blocked.
  timers,       // rebuild: signal handlers and pending signals are set.
  last,  // rebuild: the very last calls before the program runs on: credentials dropped, itimers armed.
};
inline constexpr Phase all_phases[] = {Phase::process, Phase::descriptors, Phase::memory, Phase::threads,
                                       Phase::signals, Phase::timers,      Phase::last};

// --- Checkpoint ------------------------------------------------------------------------------------------

// Calls that a kind wants made inside the frozen target before collect(). They must change nothing.
class Questions {
 public:
  virtual ~Questions() = default;
  virtual CallBatch& leader() = 0;  // runs in the thread group's leader
  virtual CallBatch& thread(
      NsPid ns_tid) = 0;  // runs in that thread (the leader's is another batch than leader())
};

// One open file description of the target (what open(2) makes; several descriptors may refer to it).
struct OpenFile {
  std::uint32_t id = 0;       // its number in this snapshot
  std::vector<RemoteFd> fds;  // ascending; at least one
  std::string path;         // readlink of /proc/PID/fd/N: "/path", "pipe:[123]", "anon_inode:[eventfd]", ...
  struct stat status {};    // of the object
  std::uint32_t flags = 0;  // fcntl(F_GETFL) flags, O_CLOEXEC removed
  std::int64_t position = 0;  // bytes
  std::string fdinfo;         // the whole text of /proc/PID/fdinfo/N
  int local = -1;             // our own descriptor for it (pidfd_getfd(2)), borrowed; -1 where refused
};

// How closely memory is looked at.
enum class MemoryDetail : std::uint8_t {
  contents,  // all that must be saved
  unkept,    // the same, but not the pages that a keeper holds (memory_keeper.h), of which there are at least
             // some
  layout,    // only what is mapped where: no flags, no pages
};

struct CollectContext {
  const FrozenProcess& target;
  Questions& answers;  // the same batches, after the run
  Blockers& blockers;
  store::SnapshotWriter* writer;          // for contents too large for a section; null in `crs check`
  DeletedFiles* deleted_files = nullptr;  // for files without a name
  Deadline deadline{};
  LeftOutMemory* left_out = nullptr;           // memory that is not to be saved
  NsPid rebuilder{};                           // the thread that rebuilds some of it after a restart; 0: none
  const std::set<int>* descriptors = nullptr;  // only these are looked at; null: all
  MemoryDetail memory_detail = MemoryDetail::contents;
};

// --- Restart ---------------------------------------------------------------------------------------------

enum class FilesPolicy : std::uint8_t { rollback, keep, refuse };
enum class StdioMode : std::uint8_t { automatic, inherit, saved, null };

struct RestoreOptions {
  FilesPolicy files = FilesPolicy::rollback;
  bool allow_changed_files = false;
  StdioMode stdio = StdioMode::automatic;
  std::map<int, std::string> fd_paths;  // --fd N=PATH
  bool ignore_cpu_features = false;
  bool parent_waits =
      false;  // the restarting thread stays as the parent until the program ends (no --detach)
  // The restarting group is in the foreground of its terminal, and that of the program takes its place.
  bool lend_terminal = false;
  // The restarting process itself becomes the program: its session, group and parent stay.
  bool in_place = false;
  // A process that still runs and will be the one that is restarted (rollback); 0: none.
  Pid replaced{};
  // NAME=VALUE, for a program that takes part to ask for.
  std::vector<std::string> variables;
  // How long the program may take for what it does before its threads run; 0: as long as the deadline lets
  // it.
  std::chrono::seconds hook_limit{60};
};

struct CheckContext {
  const store::SnapshotReader& snapshot;
  const RestoreOptions& options;
  Blockers& blockers;
  // Whether the user gave something else for the open file (--fd, --stdio), so that the saved one is not
  // needed.
  std::function<bool(std::uint32_t id)> is_replaced = [](std::uint32_t) { return false; };
};

// In the forked copy of the restorer that becomes the process: ordinary C++, ordinary system calls. All
// signals are blocked. Descriptors 0, 1 and 2 of the restart command are kept at own_stdio[].
struct InsideContext {
  const store::SnapshotReader& snapshot;
  const RestoreOptions& options;
  NsPid ns_pid;
  std::array<int, 3> own_stdio{-1, -1, -1};  // borrowed; -1: was closed
  int executable_fd = -1;  // the number at which the process image puts its executable for rebuild()
  DeletedFiles* deleted_files = nullptr;
};

// A thread that runs before all others, and until when.
struct FirstToRun {
  NsPid thread;
  std::function<Result<bool>()> wait;  // for a moment at most; true: the others may run
  std::function<std::string()> doing;  // what it is at, for errors: "rebuilding its memory 'cache'"
};

// From outside, by batches that run in the half-made process. Queue calls; the engine runs them at the end of
// the phase.
class RebuildContext {
 public:
  virtual ~RebuildContext() = default;
  virtual const RestoreOptions& options() const = 0;
  virtual Pid pid() const = 0;  // in the restorer's pid namespace
  virtual NsPid ns_pid() const = 0;
  virtual Tid host_tid(
      NsPid ns_tid) const = 0;  // the restorer's number of a restored thread (from Phase::threads on)
  virtual std::span<const NsPid> threads() const = 0;  // leader first
  virtual int executable_fd() const = 0;               // see InsideContext
  virtual CallBatch& leader() = 0;
  virtual CallBatch& thread(NsPid ns_tid) = 0;  // from Phase::threads on; also the leader's own
  // Once everything stands. It takes as long as options().hook_limit at most; an error ends the process.
  virtual void let_run_first(FirstToRun first) = 0;
  virtual void note(std::string text) = 0;  // something the user should know that is no failure
};

struct CommitContext {
  const store::SnapshotReader& snapshot;
  const RestoreOptions& options;
  std::function<void(std::string)> note;
  std::function<bool(std::uint32_t id)> is_replaced = [](std::uint32_t) {
    return false;
  };  // see CheckContext
};

// Of a process that still lives and goes back (rewind.cc).
struct RewindContext {
  RebuildContext& calls;
  bool equal = false;  // this kind's part is as it was saved
  std::function<std::optional<RemoteFd>(std::uint32_t id)> descriptor_of;  // the lowest of an open file
};

// --- The kind itself -------------------------------------------------------------------------------------

class ResourceKind {
 public:
  virtual ~ResourceKind() = default;

  // Queues the calls whose answers collect() needs.
  virtual Status ask(const FrozenProcess&, Questions&) { return ok(); }
  // Reads its part of the target, changes nothing; what cannot be saved goes into context.blockers and the
  // walk goes on.
  virtual Status collect(CollectContext& context) = 0;
  // The section's bytes.
  virtual Result<std::string> save() const = 0;

  // Parses what save() wrote, possibly by another version, possibly damaged or hostile.
  virtual Status load(std::string_view bytes) = 0;
  // What the snapshot needs and this machine lacks: into context.blockers. Creates nothing.
  virtual Status check(CheckContext&) { return ok(); }
  virtual Status restore_inside(InsideContext&) { return ok(); }
  virtual Status rebuild(RebuildContext&) { return ok(); }
  // Everything else worked and the program is about to run: side effects that cannot be taken back (cutting
  // files).
  virtual Status commit(CommitContext&) { return ok(); }

  // A process that still lives goes back (rewind.cc). Whether rewind() leads from what save() said of it just
  // now to what load() read; that both are equal is always enough.
  virtual Result<bool> can_rewind_from(std::string_view /*now*/) const { return false; }
  // Queues the calls that do it, in this kind's phase.
  virtual Status rewind(RewindContext&) { return ok(); }

  // For `crs inspect`; called after load() or collect().
  virtual nlohmann::json describe() const { return nullptr; }

  // --- Kinds of open files (regular files, pipes, ...): descriptor_table.cc asks each kind in turn.
  // Exactly one kind may claim a description; none: a blocker.
  virtual bool claims(const OpenFile&) const { return false; }
  virtual Status collect_file(CollectContext&, const OpenFile&) { return ok(); }
  // In Phase::descriptors: a new description equal to the saved one (flags, position). The table gives it its
  // numbers.
  virtual Result<OwnedFd> restore_file(InsideContext&, std::uint32_t /*id*/) {
    return Error(Errc::bug, "this kind restores no files");
  }
};

struct KindInfo {
  const char* section;
  Phase phase;
  std::unique_ptr<ResourceKind> (*make)();
};

// The table made by CMake from the names in src/engine/kinds/.
std::span<const KindInfo* const> builtin_kinds();

// For kinds that use protobuf: the two conversions with their errors.
template <class Message>
Result<std::string> to_section(const Message& message) {
  std::string bytes;
  if (!message.SerializeToString(&bytes)) return Error(Errc::bug, "cannot serialize a section");
  return bytes;
}
template <class Message>
Status from_section(std::string_view bytes, Message& message) {
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error(Errc::bad_snapshot, "a section cannot be parsed");
  }
  return ok();
}

}  // namespace crs
