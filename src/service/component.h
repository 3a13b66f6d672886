// SPDX-License-Identifier: Apache-2.0
// Component: one checkpointer behind the service (none, self, native, criu, dmtcp).
//
// How to add a component
//   1. Write src/components/x/component.cc: a class derived from Component, in an anonymous namespace, and as
//   its
//      last lines the registration:
//        extern constinit const ComponentInfo component_x{
//            .name = "x", .version = "1.0.0", .priority = 20, .summary = "...", .parameters = x_parameters,
//            .make = [](const ParameterView& values) -> std::unique_ptr<Component> { ... }};
//      The folder name is the registration; CMake makes the table.
//   2. Nothing else. `crs components` lists it, `crs params` lists its parameters.
//
// What this file knows
//   What the service asks of a checkpointer, in the service's own words: nothing here knows an engine. A
//   component that cannot serve says so with a reason (query()); it never pretends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gate/gate.h"
#include "os/deadline.h"
#include "os/ids.h"
#include "os/owned_fd.h"
#include "os/result.h"
#include "service/parameters.h"
#include "store/snapshot.h"

namespace crs {

// How an operation tells of itself while it runs. Called from threads of the component, one at a time.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void phase(std::string_view) {}                                    // "freeze", "memory", ...
  virtual void progress(std::uint64_t /*done*/, std::uint64_t /*total*/) {}  // bytes of memory
  virtual void note(std::string_view) {}                                     // a warning in one sentence
  virtual void delayed(std::string_view) {}                                  // why it waits, at once
  virtual void tell(std::string_view) {}  // a line that the parameter <component>.verbose asked for
};

// Whom a component is asked about.
struct Target {
  std::optional<Pid> pid;  // none: about this machine in general
  bool by_name = false;    // the user named this component
};

struct Capability {
  std::string name;  // "restores the old pid"
  bool present = false;
  std::string detail;  // how, or why not
};

struct CapabilityReport {
  bool can_serve = false;
  std::string reason;  // why not; empty when it can
  std::vector<Capability> capabilities;
};

enum class AfterCheckpoint : std::uint8_t { run, terminate, stop };

struct CheckpointRequest {
  Pid pid;
  AfterCheckpoint after = AfterCheckpoint::run;
  Deadline deadline;
  Gate* gate = nullptr;  // set by the service, of a process that takes part: freeze only while it is open
  bool skip_dontdump = false;  // memory that is to be in no core dump (MADV_DONTDUMP) is not saved either
  // The snapshot is for this process to go back to, and need not outlive it.
  bool for_rollback = false;
};

struct SavedProcess {
  std::string path;                  // the snapshot
  std::chrono::nanoseconds stop{};   // how long the process stood still
  std::chrono::nanoseconds total{};  // the whole operation
  std::uint64_t memory_bytes = 0;    // raw
  std::uint64_t stored_bytes = 0;    // on disk
  std::uint64_t left_out_bytes = 0;  // of memory that was not to be saved
  std::uint64_t left_out_regions = 0;
  std::uint64_t threads = 0;
  bool restorable = true;  // false: a restart starts the program anew
  std::vector<std::string> notes;
};

struct ExamineRequest {
  Pid pid;
  Deadline deadline;
  bool skip_dontdump = false;  // as of CheckpointRequest
};

// What a checkpoint would find.
struct Outlook {
  std::vector<Blocker> blockers;  // what is in the way of a checkpoint
  std::vector<std::string> notes;
  std::uint64_t threads = 0;
  std::uint64_t mappings = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t memory_bytes = 0;    // that would be saved, before compression
  std::uint64_t left_out_bytes = 0;  // that would not, as it was wished
  std::uint64_t left_out_regions = 0;
  std::chrono::nanoseconds stop{};  // how long the look stopped the process
  std::string command;
};

enum class PidChoice : std::uint8_t { automatic, same, pid_namespace };
enum class ChangedOutput : std::uint8_t { rollback, keep, refuse };
enum class Stdio : std::uint8_t { automatic, inherit, saved, null };

// The program's clocks that count from the start of the system go on where they stood, or are those of here;
// automatic: since the same start of the system they are what they would be, else they go on if they can.
enum class ClockChoice : std::uint8_t { automatic, go_on, host };

struct RestartRequest {
  PidChoice pid = PidChoice::automatic;
  ClockChoice clock = ClockChoice::automatic;
  ChangedOutput files = ChangedOutput::rollback;
  Stdio stdio = Stdio::automatic;
  std::map<int, std::string> fd_paths;  // the program's descriptor N becomes this path
  // NAME=VALUE: in the environment of a program that is started anew, or for one that comes back to ask for.
  std::vector<std::string> variables;
  bool allow_changed_files = false;
  bool ignore_cpu = false;
  bool stands = false;         // it is stopped (SIGSTOP) before it runs its first instruction
  bool parent_waits = false;   // the caller stays until the program ends
  bool lend_terminal = false;  // its group is in the foreground of the terminal, which it lends the program
  Deadline deadline;
  std::chrono::seconds hook_limit{60};  // set by the service: for what the program does before it runs on
};

// How a restart in place ended: the error, or null, and notes. Called in a helper process, which then ends.
using InPlaceTold = std::function<void(const Error*, const std::vector<std::string>&)>;

struct RollbackRequest {
  Pid pid;
  ChangedOutput files = ChangedOutput::rollback;
  bool allow_changed_files = false;
  bool ignore_cpu = false;
  Deadline deadline;                    // for what comes before the point of no return
  std::chrono::seconds hook_limit{60};  // as of RestartRequest
  Gate* gate = nullptr;                 // set by the service, as for a checkpoint
  // This program, and the words with which it restarts the snapshot in place; those of its own that it needs.
  std::string program;
  std::vector<std::string> arguments;  // with argv[0]; the name of the channel that hears the end is added
  std::vector<std::string> environment;
};

struct RolledBack {
  bool made_anew = true;             // false: only what had changed was put back
  std::chrono::nanoseconds stop{};   // how long the process stood still
  std::chrono::nanoseconds total{};  // the whole operation
  std::vector<std::string> notes;
};

// A process that runs again.
struct RestartInfo {
  Pid pid;                    // the program's, as the caller sees it
  Pid child;                  // whom to wait for with waitpid(2); its exit status is the program's
  OwnedFd changes;            // in_namespace: gives a wait status, 4 bytes, when the program stops or ends
  NsPid ns_pid;               // what the program's getpid(2) answers
  bool in_namespace = false;  // it has a pid namespace of its own
  bool leads_group = false;   // it leads a process group of its own
  bool stopped = false;       // it was stopped by job control when it was saved, and is again
  std::chrono::nanoseconds total{};
  std::vector<std::string> notes;
};

// One thread at a time. Holds no process between calls.
class Component {
 public:
  virtual ~Component() = default;

  // Can it serve this target on this machine? Cheap, stops nobody, never fails: a reason is an answer.
  virtual CapabilityReport query(const Target& target) const = 0;

  // Saves the process into `writer` and commits it. On any error the process runs on unharmed. `manifest`
  // comes with component, job and generation filled in.
  virtual Result<SavedProcess> checkpoint(const CheckpointRequest& request, store::SnapshotWriter& writer,
                                          store::Manifest manifest, Observer& observer) const = 0;

  // What checkpoint() would say, writing nothing.
  virtual Result<Outlook> examine(const ExamineRequest& request) const = 0;

  // Brings the process back as a child of the caller. On any error nothing is left of it.
  virtual Result<RestartInfo> restart(const store::SnapshotReader& snapshot, const RestartRequest& request,
                                      Observer& observer) const = 0;

  // The calling process, of one thread, becomes the saved one, and this returns only an error: then it is
  // what it was. `verified`: all stored bytes were checked just before.
  virtual Error restart_in_place(const store::SnapshotReader&, const RestartRequest&, bool /*verified*/,
                                 const InPlaceTold&, Observer&) const {
    return Error(Errc::unsupported, "this component cannot restart a process in place");
  }

  // A running process goes back to its own snapshot. On an error it runs on unharmed, or, after the point of
  // no return, has ended: the error says so.
  virtual Result<RolledBack> rollback(const store::SnapshotReader&, const RollbackRequest&, Observer&) const {
    return Error(Errc::unsupported, "this component cannot roll a process back");
  }

  // What it knows of a snapshot of its own, {"section": {...}}.
  virtual Result<nlohmann::json> inspect(const store::SnapshotReader& snapshot) const = 0;
};

struct ComponentInfo {
  const char* type = "crs";
  const char* interface_version = "2.0.0";
  const char* name = "";
  const char* version = "";
  int priority = 0;   // highest wins; ties by name. Parameter <name>.priority overrides it
  int verbosity = 0;  // parameter <name>.verbose overrides it
  const char* summary = "";
  std::span<const ParameterInfo> parameters = {};  // besides priority and verbose, which every component has
  std::unique_ptr<Component> (*make)(const ParameterView& values) = nullptr;
};

// The table made by CMake from the folders in src/components/.
std::span<const ComponentInfo* const> builtin_components();

}  // namespace crs
