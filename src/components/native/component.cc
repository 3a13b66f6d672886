// SPDX-License-Identifier: Apache-2.0
// native: our own user-space engine for Linux. The bridge between the service's words and the engine's.
//
// What this file knows
//   Which of the engine's options each request means, and what this machine must have for the engine to work
//   at all.
// What it leaves to others
//   Whether one given process can be saved: the engine's refusals are exact, a guess here could only be
//   worse.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/engine.h"
#include "gate/memory_table.h"
#include "os/file_io.h"
#include "os/privileges.h"
#include "os/proc.h"
#include "service/component.h"

namespace crs {
namespace {

// Engine events as the observer's.
class Relay : public Events {
 public:
  explicit Relay(Observer& observer) : observer_(observer) {}
  void phase(std::string_view name) override { observer_.phase(name); }
  void progress(std::uint64_t done, std::uint64_t total) override { observer_.progress(done, total); }
  void note(std::string_view text) override { observer_.note(text); }
  void delayed(std::string_view text) override { observer_.delayed(text); }

 private:
  Observer& observer_;
};

AfterCapture to_engine(AfterCheckpoint after) {
  switch (after) {
    case AfterCheckpoint::run: return AfterCapture::run;
    case AfterCheckpoint::terminate: return AfterCapture::terminate;
    case AfterCheckpoint::stop: return AfterCapture::stop;
  }
  return AfterCapture::run;
}

FilesPolicy to_engine(ChangedOutput files) {
  switch (files) {
    case ChangedOutput::rollback: return FilesPolicy::rollback;
    case ChangedOutput::keep: return FilesPolicy::keep;
    case ChangedOutput::refuse: return FilesPolicy::refuse;
  }
  return FilesPolicy::rollback;
}

RestartOptions to_engine(const RestartRequest& request, unsigned workers) {
  RestartOptions options;
  switch (request.pid) {
    case PidChoice::automatic: options.pid = PidMode::automatic; break;
    case PidChoice::same: options.pid = PidMode::same; break;
    case PidChoice::pid_namespace: options.pid = PidMode::pid_namespace; break;
  }
  switch (request.clock) {
    case ClockChoice::automatic: options.clock = ClockMode::automatic; break;
    case ClockChoice::go_on: options.clock = ClockMode::go_on; break;
    case ClockChoice::host: options.clock = ClockMode::host; break;
  }
  options.restore.files = to_engine(request.files);
  switch (request.stdio) {
    case Stdio::automatic: options.restore.stdio = StdioMode::automatic; break;
    case Stdio::inherit: options.restore.stdio = StdioMode::inherit; break;
    case Stdio::saved: options.restore.stdio = StdioMode::saved; break;
    case Stdio::null: options.restore.stdio = StdioMode::null; break;
  }
  options.restore.fd_paths = request.fd_paths;
  options.restore.variables = request.variables;
  options.restore.allow_changed_files = request.allow_changed_files;
  options.restore.ignore_cpu_features = request.ignore_cpu;
  options.restore.parent_waits = request.parent_waits;
  options.restore.lend_terminal = request.lend_terminal;
  options.restore.hook_limit = request.hook_limit;
  options.deadline = request.deadline;
  options.stands = request.stands;
  options.workers = workers;
  return options;
}

// Whether an ordinary user may make user namespaces; the sysctls differ between distributions, absent means
// yes.
std::optional<std::string> why_no_user_namespaces() {
  struct Switch {
    const char* path;
    const char* off;
  };
  for (const auto& [path, off] : {Switch{"/proc/sys/user/max_user_namespaces", "0"},
                                  Switch{"/proc/sys/kernel/unprivileged_userns_clone", "0"},
                                  Switch{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"}}) {
    const auto text = read_file(path, 64);
    if (text && text->substr(0, text->find('\n')) == off) return std::string(path) + " is " + off;
  }
  return std::nullopt;
}

class Native : public Component {
 public:
  Native(unsigned workers, bool skip_dontdump)
      : engine_(builtin_kinds()), workers_(workers), skip_dontdump_(skip_dontdump) {}

  CapabilityReport query(const Target&) const override {
    CapabilityReport report;
    utsname system{};
    if (uname(&system) != 0 || std::strcmp(system.machine, "x86_64") != 0) {
      report.reason = "it works on x86_64 only, and this is " + std::string(system.machine);
      return report;
    }
    const OwnedFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!self) {
      report.reason = "pidfd_open(2) fails: " + std::string(std::strerror(errno));
      return report;
    }
    if (const auto own = ProcDir::open(Pid(getpid())); !own) {
      report.reason = "/proc does not show this process: " + own.error().message();
      return report;
    }
    report.can_serve = true;
    const auto yama = read_file("/proc/sys/kernel/yama/ptrace_scope", 64);
    const bool root = may_choose_pids();
    const bool open_to_users = !yama || yama->starts_with("0");
    report.capabilities.push_back({"saves other programs of this user", open_to_users || geteuid() == 0,
                                   open_to_users || geteuid() == 0
                                       ? "ptrace(2) is permitted"
                                       : "/proc/sys/kernel/yama/ptrace_scope forbids it"});
    report.capabilities.push_back({"restores the old pid", root,
                                   root ? "clone3(2) with chosen ids is permitted"
                                        : "needs CAP_CHECKPOINT_RESTORE; else only inside a pid namespace"});
    const auto no_namespaces = root ? std::nullopt : why_no_user_namespaces();
    report.capabilities.push_back(
        {"restores in a pid namespace", !no_namespaces, no_namespaces.value_or("namespaces are permitted")});
    return report;
  }

  Result<SavedProcess> checkpoint(const CheckpointRequest& request, store::SnapshotWriter& writer,
                                  store::Manifest manifest, Observer& observer) const override {
    Relay relay(observer);
    CheckpointOptions options;
    options.after = to_engine(request.after);
    options.deadline = request.deadline;
    options.workers = workers_;
    options.gate = request.gate;
    options.keep_memory = request.for_rollback;
    // What a keeper holds costs nothing, and comes back as it was.
    if (!request.for_rollback) {
      if (request.gate != nullptr) options.memory = memory_options(&request.gate->page());
      if (request.skip_dontdump || skip_dontdump_) options.memory.skip_dontdump = true;
    }
    CRS_TRY(auto report, engine_.checkpoint(request.pid, writer, std::move(manifest), options, relay));
    return SavedProcess{.path = std::move(report.path),
                        .stop = report.stop,
                        .total = report.total,
                        .memory_bytes = report.memory_bytes,
                        .stored_bytes = report.stored_bytes,
                        .left_out_bytes = report.left_out_bytes,
                        .left_out_regions = report.left_out_regions,
                        .threads = report.threads,
                        .restorable = true,
                        .notes = std::move(report.notes)};
  }

  Result<Outlook> examine(const ExamineRequest& request) const override {
    CRS_TRY(const auto control, find_control_page(request.pid));
    MemoryOptions memory;
    if (control) memory = memory_options(&control->page());
    memory.skip_dontdump = request.skip_dontdump || skip_dontdump_;
    CRS_TRY(auto report, engine_.examine(request.pid, memory, request.deadline));
    Outlook outlook;
    outlook.blockers = report.blockers.list();
    outlook.notes = report.blockers.notes();
    outlook.threads = report.threads;
    outlook.mappings = report.mappings;
    outlook.descriptors = report.descriptors;
    outlook.memory_bytes = report.memory_bytes;
    outlook.left_out_bytes = report.left_out_bytes;
    outlook.left_out_regions = report.left_out_regions;
    outlook.stop = report.stop;
    outlook.command = std::move(report.command);
    return outlook;
  }

  Result<RestartInfo> restart(const store::SnapshotReader& snapshot, const RestartRequest& request,
                              Observer& observer) const override {
    Relay relay(observer);
    CRS_TRY(auto process, engine_.restart(snapshot, to_engine(request, workers_), relay));
    return RestartInfo{.pid = process.pid,
                       .child = process.child,
                       .changes = std::move(process.changes),
                       .ns_pid = process.ns_pid,
                       .in_namespace = process.in_namespace,
                       .leads_group = process.leads_group,
                       .stopped = process.stopped,
                       .total = process.total,
                       .notes = std::move(process.notes)};
  }

  Error restart_in_place(const store::SnapshotReader& snapshot, const RestartRequest& request, bool verified,
                         const InPlaceTold& told, Observer& observer) const override {
    Relay relay(observer);
    RestartOptions options = to_engine(request, workers_);
    options.verified = verified;
    return engine_.restart_in_place(snapshot, options, told, relay);
  }

  Result<RolledBack> rollback(const store::SnapshotReader& snapshot, const RollbackRequest& request,
                              Observer& observer) const override {
    Relay relay(observer);
    RollbackOptions options;
    options.restore.files = to_engine(request.files);
    options.restore.allow_changed_files = request.allow_changed_files;
    options.restore.hook_limit = request.hook_limit;
    options.restore.ignore_cpu_features = request.ignore_cpu;
    options.deadline = request.deadline;
    options.workers = workers_;
    options.gate = request.gate;
    options.program = request.program;
    options.arguments = request.arguments;
    options.environment = request.environment;
    CRS_TRY(auto report, engine_.rollback(request.pid, snapshot, options, relay));
    return RolledBack{.made_anew = report.made_anew,
                      .stop = report.stop,
                      .total = report.total,
                      .notes = std::move(report.notes)};
  }

  Result<nlohmann::json> inspect(const store::SnapshotReader& snapshot) const override {
    return engine_.inspect(snapshot);
  }

 private:
  // Asks what the process of this page wants left out, once it is frozen.
  static MemoryOptions memory_options(const ControlPage* page) {
    MemoryOptions options;
    options.ask = [page](const ProcessMemory& memory) { return memory_wishes(*page, memory); };
    return options;
  }

  Engine engine_;
  unsigned workers_;
  bool skip_dontdump_;
};

constexpr ParameterInfo native_parameters[] = {
    {.name = "workers",
     .type = ParameterType::integer,
     .default_value = "0",
     .help = "threads that read and write memory; 0: as many as suit the machine",
     .minimum = 0,
     .maximum = 256},
    {.name = "skip_dontdump",
     .type = ParameterType::boolean,
     .default_value = "no",
     .help = "do not save memory that is to be in no core dump (MADV_DONTDUMP): it comes back as zeros"},
};

}  // namespace

extern constinit const ComponentInfo component_native{
    .name = "native",
    .version = "0.1.0",
    .priority = 50,
    .summary = "saves and restores any multi-threaded program from outside, with its pid",
    .parameters = native_parameters,
    .make = [](const ParameterView& values) -> std::unique_ptr<Component> {
      return std::make_unique<Native>(static_cast<unsigned>(values.integer("workers")),
                                      values.boolean("skip_dontdump"));
    }};

}  // namespace crs
