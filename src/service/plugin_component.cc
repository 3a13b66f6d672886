// SPDX-License-Identifier: Apache-2.0
#include "service/plugin_component.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "os/file_io.h"
#include "service/process_facts.h"

namespace crs {
namespace {

Errc to_errc(int code) {
  switch (code) {
    case CRS_ERR_USAGE: return Errc::usage;
    case CRS_ERR_NOT_FOUND: return Errc::not_found;
    case CRS_ERR_PERMISSION: return Errc::permission;
    case CRS_ERR_REFUSED: return Errc::refused;
    case CRS_ERR_BUSY: return Errc::busy;
    case CRS_ERR_TIMEOUT: return Errc::timeout;
    case CRS_ERR_BAD_SNAPSHOT: return Errc::bad_snapshot;
    case CRS_ERR_STORAGE: return Errc::storage;
    case CRS_ERR_UNSUPPORTED: return Errc::unsupported;
    default: return Errc::kernel;
  }
}

int to_c(AfterCheckpoint after) {
  switch (after) {
    case AfterCheckpoint::run: return CRS_COMPONENT_RUN;
    case AfterCheckpoint::terminate: return CRS_COMPONENT_TERM;
    case AfterCheckpoint::stop: return CRS_COMPONENT_STOP;
  }
  return CRS_COMPONENT_RUN;
}

// As --pid, --files and --stdio are numbered in component.h.
static_assert(static_cast<int>(PidChoice::pid_namespace) == CRS_COMPONENT_PID_NAMESPACE &&
              static_cast<int>(PidChoice::same) == CRS_COMPONENT_PID_SAME);
static_assert(static_cast<int>(ChangedOutput::keep) == CRS_COMPONENT_FILES_KEEP &&
              static_cast<int>(ChangedOutput::refuse) == CRS_COMPONENT_FILES_REFUSE);
static_assert(static_cast<int>(Stdio::inherit) == CRS_COMPONENT_STDIO_INHERIT &&
              static_cast<int>(Stdio::saved) == CRS_COMPONENT_STDIO_SAVED &&
              static_cast<int>(Stdio::null) == CRS_COMPONENT_STDIO_NULL);

std::uint64_t nanoseconds_left(const Deadline& deadline) {
  const auto left = deadline.left();
  if (!left) return 0;
  return left->count() > 0 ? static_cast<std::uint64_t>(left->count()) : 1;
}

// One call of a plugin's function: what it may ask of us, and what it has told.
class Call {
 public:
  using Values = std::map<std::string, std::string, std::less<>>;
  explicit Call(const Values& values, Observer* observer = nullptr, const Deadline* deadline = nullptr,
                const Gate* gate = nullptr)
      : values_(values), observer_(observer), deadline_(deadline), gate_(gate) {
    host_.size = sizeof host_;
    host_.handle = this;
    host_.parameter = [](const crs_component_host* host, const char* name) -> const char* {
      const auto& all = of(host).values_;
      const auto found = all.find(std::string_view(name));
      return found == all.end() ? nullptr : found->second.c_str();
    };
    host_.fail = [](const crs_component_host* host, int code, int number, const char* message,
                    const char* hint) {
      Error error(to_errc(code), message);
      error.set_hint(hint != nullptr ? hint : "");
      error.set_errno(number);
      of(host).error_ = std::move(error);
      return code;
    };
    host_.passed = [](const crs_component_host* host) {
      return of(host).deadline_ != nullptr && of(host).deadline_->passed();
    };
    host_.in_critical_section = [](const crs_component_host* host) {
      return of(host).gate_ != nullptr && !of(host).gate_->is_open();
    };
    host_.phase = [](const crs_component_host* host, const char* name) {
      if (of(host).observer_ != nullptr) of(host).observer_->phase(name);
    };
    host_.progress = [](const crs_component_host* host, std::uint64_t done, std::uint64_t total) {
      if (of(host).observer_ != nullptr) of(host).observer_->progress(done, total);
    };
    host_.note = [](const crs_component_host* host, const char* text) {
      of(host).notes_.emplace_back(text);
      if (of(host).observer_ != nullptr) of(host).observer_->note(text);
    };
    host_.capability = [](const crs_component_host* host, const char* name, bool present,
                          const char* detail) {
      of(host).capabilities_.push_back({name, present, detail != nullptr ? detail : ""});
    };
    host_.show = [](const crs_component_host* host, const char* name, const char* value) {
      of(host).shown_[name] = value;
    };
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Calls `function(host)`; what it answers, and an exception of a C++ plugin, as a status.
  template <class Function>
  Status operator()(const char* what, Function&& function) {
    error_.reset();
    int code = 0;
    try {
      code = function(static_cast<const crs_component_host*>(&host_));
    } catch (const std::exception& exception) {
      return Error(Errc::kernel, std::string(what) + " ended by an exception: " + exception.what());
    } catch (...) {
      return Error(Errc::kernel, std::string(what) + " ended by an exception");
    }
    if (code == CRS_SUCCESS) return ok();
    if (error_) return std::move(*error_);
    return Error(to_errc(code),
                 std::string(what) + " failed with " + std::to_string(code) + " and told no reason");
  }

  std::vector<std::string>& notes() { return notes_; }
  std::vector<Capability>& capabilities() { return capabilities_; }
  nlohmann::json& shown() { return shown_; }

 private:
  static Call& of(const crs_component_host* host) { return *static_cast<Call*>(host->handle); }

  crs_component_host host_{};
  const Values& values_;
  Observer* observer_;
  const Deadline* deadline_;
  const Gate* gate_;
  std::optional<Error> error_;
  std::vector<std::string> notes_;
  std::vector<Capability> capabilities_;
  nlohmann::json shown_ = nlohmann::json::object();
};

// What a plugin wrote into the folder besides our own files. Folders are removed: a snapshot has none, and
// who removes one expects none.
Status register_files(store::SnapshotWriter& writer, const std::string& folder) {
  CRS_TRY(const auto names, list_directory(folder));
  for (const std::string& name : names) {
    if (store::SnapshotWriter::is_own_file(name)) continue;
    struct stat status {};
    if (fstatat(writer.directory(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "stat " + name);
    if (S_ISDIR(status.st_mode)) {
      std::error_code problem;
      std::filesystem::remove_all(std::filesystem::path(folder) / name, problem);
    }
    if (!S_ISREG(status.st_mode) || !writer.register_file(name))
      return Error(Errc::unsupported, "it made '" + name + "', which a snapshot cannot have")
          .with_hint("a component writes plain files, with the names that crs/component.h allows");
  }
  return ok();
}

class PluginComponent : public Component {
 public:
  PluginComponent(const Plugin& plugin, const ParameterView& values) : plugin_(plugin) {
    for (const char* common : {"priority", "verbose"})
      values_[common] = std::to_string(values.integer(common));
    for (const ParameterInfo& each : plugin.info().parameters) values_[each.name] = values.text(each.name);
  }

  CapabilityReport query(const Target& target) const override {
    Call call(values_);
    const pid_t pid = target.pid ? target.pid->v : 0;
    const auto asked =
        call("query", [&](auto* host) { return definition().query(host, pid, target.by_name); });
    CapabilityReport report;
    report.can_serve = asked.has_value();
    if (!asked) report.reason = asked.error().to_string();
    report.capabilities = std::move(call.capabilities());
    return report;
  }

  Result<SavedProcess> checkpoint(const CheckpointRequest& request, store::SnapshotWriter& writer,
                                  store::Manifest manifest, Observer& observer) const override {
    const auto started = std::chrono::steady_clock::now();
    CRS_TRY(const auto facts, collect_facts(request.pid));
    CRS_TRY(const auto folder, read_link("/proc/self/fd/" + std::to_string(writer.directory())));
    describe(facts, request.pid, manifest);
    const crs_component_checkpoint asked{.size = sizeof asked,
                                         .pid = request.pid.v,
                                         .pidfd = facts.pidfd.get(),
                                         .directory = writer.directory(),
                                         .directory_path = folder.c_str(),
                                         .after = to_c(request.after),
                                         .timeout_ns = nanoseconds_left(request.deadline)};
    crs_component_saved answer{};
    answer.size = sizeof answer;
    Call call(values_, &observer, &request.deadline, request.gate);
    auto called =
        call("checkpoint", [&](auto* host) { return definition().checkpoint(host, &asked, &answer); });
    if (!called) {
      (void)register_files(writer, folder);  // for what it says of folders
      return named(std::move(called).error());
    }
    auto committed = commit(request, writer, std::move(manifest), answer, folder);
    const auto finished = finish(call, asked, facts, request.after, committed.has_value());
    if (!committed) return std::move(committed).error();
    if (!finished) return Error(finished.error()).with_context("the snapshot " + *committed + " was made");
    return SavedProcess{.path = std::move(*committed),
                        .stop = std::chrono::nanoseconds(answer.stop_ns),
                        .total = std::chrono::steady_clock::now() - started,
                        .memory_bytes = answer.memory_bytes,
                        .stored_bytes = writer.page_summary().stored_bytes,
                        .threads = facts.threads,
                        .restorable = answer.restorable,
                        .notes = std::move(call.notes())};
  }

  Result<Outlook> examine(const ExamineRequest& request) const override {
    CRS_TRY(const auto facts, collect_facts(request.pid));
    Outlook outlook;
    outlook.threads = facts.threads;
    outlook.command = facts.stat.comm;
    if (const auto report = query({.pid = request.pid, .by_name = true}); !report.can_serve)
      outlook.blockers.push_back({plugin_.info().name, "the process", report.reason, ""});
    return outlook;
  }

  Result<RestartInfo> restart(const store::SnapshotReader& snapshot, const RestartRequest& request,
                              Observer& observer) const override {
    const auto started = std::chrono::steady_clock::now();
    if (request.stands)
      return named(Error(Errc::unsupported, "a component out of a shared object cannot wait for a debugger")
                       .with_hint("restart with --detach-debugger"));
    if (request.clock == ClockChoice::go_on)
      return named(Error(Errc::unsupported, "a component out of a shared object cannot be told of clocks")
                       .with_hint("restart without --clock continue"));
    if (!request.variables.empty())
      return named(Error(Errc::unsupported, "a component out of a shared object cannot be given variables")
                       .with_hint("restart without --env"));
    std::vector<crs_component_descriptor> descriptors;
    for (const auto& [number, path] : request.fd_paths) descriptors.push_back({number, path.c_str()});
    const crs_component_restart asked{.size = sizeof asked,
                                      .directory = snapshot.directory(),
                                      .directory_path = snapshot.path().c_str(),
                                      .saved_pid = static_cast<pid_t>(snapshot.manifest().pid),
                                      .pid = static_cast<int>(request.pid),
                                      .files = static_cast<int>(request.files),
                                      .stdio = static_cast<int>(request.stdio),
                                      .descriptors = descriptors.data(),
                                      .descriptor_count = descriptors.size(),
                                      .allow_changed_files = request.allow_changed_files,
                                      .ignore_cpu = request.ignore_cpu,
                                      .parent_waits = request.parent_waits,
                                      .timeout_ns = nanoseconds_left(request.deadline)};
    crs_component_restarted answer{};
    answer.size = sizeof answer;
    Call call(values_, &observer, &request.deadline);
    if (auto called =
            call("restart", [&](auto* host) { return definition().restart(host, &asked, &answer); });
        !called)
      return named(std::move(called).error());
    const pid_t child = answer.child != 0 ? answer.child : answer.pid;
    siginfo_t unused{};
    if (answer.pid <= 0 || child <= 0 ||
        waitid(P_PID, static_cast<id_t>(child), &unused, WEXITED | WNOHANG | WNOWAIT) != 0)
      return named(Error(Errc::kernel, "it told of a process that is no child of crs"));
    RestartInfo info;
    info.pid = Pid(answer.pid);
    info.child = Pid(child);
    info.ns_pid = NsPid(answer.pid);
    info.leads_group = answer.leads_group;
    info.total = std::chrono::steady_clock::now() - started;
    info.notes = std::move(call.notes());
    return info;
  }

  Result<nlohmann::json> inspect(const store::SnapshotReader& snapshot) const override {
    Call call(values_);
    if (definition().inspect != nullptr) {
      if (auto called =
              call("inspect", [&](auto* host) { return definition().inspect(host, snapshot.directory()); });
          !called)
        return named(std::move(called).error());
    }
    return nlohmann::json{{plugin_.info().name, std::move(call.shown())}};
  }

 private:
  const crs_component_definition& definition() const { return plugin_.definition(); }

  Error named(Error error) const {
    return std::move(error).with_context("component " + std::string(plugin_.info().name));
  }

  Result<std::string> commit(const CheckpointRequest& request, store::SnapshotWriter& writer,
                             store::Manifest manifest, const crs_component_saved& answer,
                             const std::string& folder) const {
    if (auto registered = register_files(writer, folder); !registered)
      return named(std::move(registered).error());
    CRS_CHECK(request.deadline.check("the component was saving the process"));
    manifest.memory_bytes = answer.memory_bytes;
    manifest.stop_ns = answer.stop_ns;
    manifest.component_data = {
        {plugin_.info().name, {{"version", plugin_.info().version}, {"restorable", answer.restorable}}}};
    return writer.commit(std::move(manifest));
  }

  Status finish(Call& call, const crs_component_checkpoint& asked, const ProcessFacts& facts,
                AfterCheckpoint after, bool committed) const {
    if (definition().finish == nullptr) return committed ? end_or_stop(facts, after) : ok();
    auto called = call("finish", [&](auto* host) { return definition().finish(host, &asked, committed); });
    return called ? ok() : Status(named(std::move(called).error()));
  }

  const Plugin& plugin_;
  Call::Values values_;
};

}  // namespace

std::unique_ptr<Component> make_plugin_component(const Plugin& plugin, const ParameterView& values) {
  return std::make_unique<PluginComponent>(plugin, values);
}

}  // namespace crs
