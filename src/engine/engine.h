// The native engine: checkpoint and restart of one process with all its threads.
//
// What this file knows
//   The order of a checkpoint (freeze, ask, collect, refuse or save, let go, make durable) and of a restart
//   (open, load, check, create, fill, rebuild, commit, let run). What is in a process is the kinds' business.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/blockers.h"
#include "engine/left_out_memory.h"
#include "engine/resource_kind.h"
#include "gate/gate.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "store/snapshot.h"

namespace crs {

// How an operation tells of itself while it runs. Called from the engine's own threads, one at a time.
class Events {
 public:
  virtual ~Events() = default;
  virtual void phase(std::string_view) {}  // "freeze", "collect", "memory", ...
  virtual void progress(std::uint64_t /*done*/, std::uint64_t /*total*/) {}  // bytes of memory
  virtual void note(std::string_view) {}                                     // a warning in one sentence
  virtual void delayed(std::string_view) {}                                  // why it waits, at once
};

enum class AfterCapture : std::uint8_t { run, terminate, stop };

struct CheckpointOptions {
  AfterCapture after = AfterCapture::run;
  Deadline deadline;
  unsigned workers = 0;  // threads that read and write memory; 0: chosen
  Gate* gate = nullptr;  // of a process that takes part; null: it does not
  MemoryOptions memory;  // what is not saved
  // Its private memory is not written, but kept by a process (memory_keeper.h) that lives as long as it does,
  // where that can be.
  bool keep_memory = false;
};

struct CheckpointReport {
  std::string path;                 // the snapshot
  std::chrono::nanoseconds stop{};  // how long the process stood still
  std::chrono::nanoseconds total{};
  std::uint64_t memory_bytes = 0;    // raw
  std::uint64_t stored_bytes = 0;    // on disk, all files
  std::uint64_t left_out_bytes = 0;  // of memory that was not to be saved
  std::uint64_t left_out_regions = 0;
  std::uint64_t threads = 0;
  std::vector<std::string> notes;
};

struct ExamineReport {
  Blockers blockers;  // with notes
  std::uint64_t threads = 0;
  std::uint64_t mappings = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t memory_bytes = 0;    // that would be saved, before compression
  std::uint64_t left_out_bytes = 0;  // that would not, as it was wished
  std::uint64_t left_out_regions = 0;
  std::chrono::nanoseconds stop{};  // how long this look stopped it
  std::string command;
};

enum class PidMode : std::uint8_t {
  automatic,      // the saved number if it is free and we may, else a pid namespace of its own
  same,           // the saved number or an error that names who has it
  pid_namespace,  // always a namespace of its own
};

// What the program's clocks that count from the start of the system (CLOCK_MONOTONIC, CLOCK_BOOTTIME) show.
enum class ClockMode : std::uint8_t {
  automatic,  // since the same start of the system: what they would; else as go_on, where that is possible
  go_on,      // they go on where they stood, or an error
  host,       // what they show here
};

struct RestartOptions {
  RestoreOptions restore;
  PidMode pid = PidMode::automatic;
  ClockMode clock = ClockMode::automatic;
  Deadline deadline;
  unsigned workers = 0;
  bool verified = false;  // all stored bytes were checked just before
  bool stands = false;    // it is stopped (SIGSTOP) before it runs its first instruction
};

// How a restart in place ended: the error, or null, and notes. Called in a helper process, which then ends.
using InPlaceTold = std::function<void(const Error*, const std::vector<std::string>&)>;

struct RollbackOptions {
  RestoreOptions restore;
  Deadline deadline;  // for what comes before the point of no return
  unsigned workers = 0;
  Gate* gate = nullptr;  // of a process that takes part; null: it does not
  // What is executed in the process: a program that restarts `snapshot` in place (restart_in_place()), sure
  // that it was verified, and tells the end to the channel (report_channel.h) whose name is put behind its
  // arguments.
  std::string program;
  std::vector<std::string> arguments;  // with argv[0]
  std::vector<std::string> environment;
};

struct RollbackReport {
  bool made_anew = true;            // by a new program in it; false: it stayed the process that it was
  std::chrono::nanoseconds stop{};  // from the freeze until the process ran again
  std::chrono::nanoseconds total{};
  std::vector<std::string> notes;
};

// A process that runs again. The caller is its parent, or (in_namespace) the parent of the init of its pid
// namespace, which passes its exit status on and ends it when it ends itself.
struct RestartedProcess {
  Pid pid;       // the program's, in the caller's pid namespace
  Pid child;     // whom to wait for with waitpid(2): the program itself, or its namespace's init
  NsPid ns_pid;  // what the program's getpid(2) answers
  bool in_namespace = false;
  OwnedFd changes;  // in_namespace: gives a wait status (waitpid(2)), 4 bytes, each time the program stops,
                    // and when it has ended; the init itself can only exit with a code
  bool leads_group = false;  // it leads a process group of its own (give it the terminal)
  bool stopped = false;      // it was stopped by job control when it was saved, and is again
  std::chrono::nanoseconds total{};
  std::vector<std::string> notes;
};

class Engine {
 public:
  explicit Engine(std::span<const KindInfo* const> kinds) : kinds_(kinds) {}

  // Saves the process into `writer` and commits it. The process runs on as soon as its state is captured
  // (AfterCapture::run), or is ended or stopped once the snapshot is durable. On any error it runs on,
  // unharmed. `manifest` comes with what the caller knows (component, job, generation); the engine fills in
  // the rest.
  Result<CheckpointReport> checkpoint(Pid pid, store::SnapshotWriter& writer, store::Manifest manifest,
                                      const CheckpointOptions& options, Events& events) const;

  // What checkpoint() would say, without writing anything.
  Result<ExamineReport> examine(Pid pid, const MemoryOptions& memory, Deadline deadline) const;

  // Brings the process back. On return it runs. On any error nothing is left and the snapshot is untouched.
  Result<RestartedProcess> restart(const store::SnapshotReader& snapshot, const RestartOptions& options,
                                   Events& events) const;

  // The calling process, of one thread, becomes the saved one: same pid, same parent. Returns only an error,
  // and then the process is what it was. What fails later ends the process, and `told` hears of it.
  // errors: refused, also when the saved pid is not ours.
  Error restart_in_place(const store::SnapshotReader& snapshot, const RestartOptions& options,
                         const InPlaceTold& told, Events& events) const;

  // The running process goes back to its own snapshot, in place. On an error it runs on unharmed, except
  // after the point of no return (the new program is executed): then it is gone, and the error says so.
  Result<RollbackReport> rollback(Pid pid, const store::SnapshotReader& snapshot,
                                  const RollbackOptions& options, Events& events) const;

  // Everything the kinds know about a snapshot: {"section": {...}}. For `crs inspect`.
  Result<nlohmann::json> inspect(const store::SnapshotReader& snapshot) const;

 private:
  std::span<const KindInfo* const> kinds_;
};

}  // namespace crs
