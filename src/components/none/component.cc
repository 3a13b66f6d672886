// SPDX-License-Identifier: Apache-2.0
// none: the checkpointer that saves nothing. A restart starts the program anew.
//
// What this file knows
//   It keeps how the program was started (executable, argument vector, working directory, environment), as
//   bytes, and starts it by execve(2): no shell ever sees any of it. It serves only whoever asks for it by
//   name: a checkpoint without state that was not asked for would be a lie. It says so once for each
//   checkpoint. environ of /proc shows the memory of the process, as cmdline does (service/process_facts.h).
//
// Kernel interfaces: proc(5), execve(2).

#include <filesystem>

#include "components/none/launch.pb.h"
#include "os/file_io.h"
#include "os/proc.h"
#include "service/component.h"
#include "service/process_facts.h"
#include "service/start_program.h"

namespace crs {
namespace {

constexpr const char* section_name = "none";

struct Process {
  ProcessFacts facts;
  none::Launch launch;
};

Result<Process> collect(Pid pid) {
  Process process;
  CRS_TRY(process.facts, collect_facts(pid));
  CRS_TRY(const auto proc, ProcDir::open(pid));
  auto directory = proc.read_link("cwd");
  if (!directory) return of_somebody_else(std::move(directory).error());
  auto environment = proc.read("environ");
  if (!environment) return of_somebody_else(std::move(environment).error());
  process.launch.set_executable(process.facts.executable);
  process.launch.set_directory(*directory);
  for (const auto& argument : process.facts.arguments) process.launch.add_arguments(argument);
  for (auto& variable : split_at_nul(*environment)) process.launch.add_environment(std::move(variable));
  if (process.launch.arguments().empty())
    return Error(Errc::refused, "the process has no arguments to start it by");
  return process;
}

class None : public Component {
 public:
  explicit None(bool warn) : warn_(warn) {}

  CapabilityReport query(const Target& target) const override {
    CapabilityReport report;
    report.can_serve = target.by_name;
    if (!target.by_name) report.reason = "it saves no state, so it serves only when asked for by name";
    report.capabilities.push_back({"saves the state", false, "a restart starts the program anew"});
    return report;
  }

  Result<SavedProcess> checkpoint(const CheckpointRequest& request, store::SnapshotWriter& writer,
                                  store::Manifest manifest, Observer& observer) const override {
    const auto started = std::chrono::steady_clock::now();
    CRS_TRY(const auto process, collect(request.pid));
    CRS_CHECK(request.deadline.check("looking at the process"));
    std::string bytes;
    if (!process.launch.SerializeToString(&bytes)) return Error(Errc::bug, "cannot serialize section none");
    CRS_CHECK(writer.add_section(section_name, std::move(bytes)));
    describe(process.facts, request.pid, manifest);
    manifest.component_data = {{"none", {{"restorable", false}}}};
    CRS_TRY(auto path, writer.commit(std::move(manifest)));
    CRS_CHECK(end_or_stop(process.facts, request.after));
    SavedProcess saved;
    saved.path = std::move(path);
    std::error_code problem;
    for (const auto& file : std::filesystem::directory_iterator(saved.path, problem)) {
      const auto size = file.file_size(problem);
      if (!problem) saved.stored_bytes += size;
    }
    saved.threads = process.facts.threads;
    saved.restorable = false;
    saved.total = std::chrono::steady_clock::now() - started;
    if (warn_) {
      saved.notes.emplace_back(
          "component none saves no state: a restart starts the program from its beginning");
      observer.note(saved.notes.back());
    }
    return saved;
  }

  Result<Outlook> examine(const ExamineRequest& request) const override {
    CRS_TRY(const auto process, collect(request.pid));
    Outlook outlook;
    outlook.threads = process.facts.threads;
    outlook.command = process.facts.stat.comm;
    outlook.notes.emplace_back(
        "component none saves no state: a restart starts the program from its beginning");
    return outlook;
  }

  Result<RestartInfo> restart(const store::SnapshotReader& snapshot, const RestartRequest& request,
                              Observer& observer) const override {
    const auto started = std::chrono::steady_clock::now();
    CRS_TRY(const auto launch, load(snapshot));
    CRS_CHECK(check_starts_anew("none", request));
    CRS_TRY(auto info, start_program(ProgramStart::of(launch), request));
    info.total = std::chrono::steady_clock::now() - started;
    if (warn_) {
      info.notes.emplace_back(
          "the snapshot has no state (component none): the program starts from its beginning");
      observer.note(info.notes.back());
    }
    return info;
  }

  Result<nlohmann::json> inspect(const store::SnapshotReader& snapshot) const override {
    CRS_TRY(const auto launch, load(snapshot));
    return nlohmann::json{
        {section_name,
         {{"executable", launch.executable()},
          {"directory", launch.directory()},
          {"arguments", std::vector<std::string>(launch.arguments().begin(), launch.arguments().end())},
          {"environment_variables", launch.environment_size()}}}};
  }

 private:
  static Result<none::Launch> load(const store::SnapshotReader& snapshot) {
    CRS_TRY(const auto bytes, snapshot.section(section_name));
    none::Launch launch;
    if (!launch.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return Error(Errc::bad_snapshot, "section none cannot be parsed");
    }
    CRS_CHECK(ProgramStart::of(launch).check(section_name));
    if (!launch.executable().starts_with('/'))
      return Error(Errc::bad_snapshot, "section none does not name its program by an absolute path");
    return launch;
  }

  bool warn_;
};

constexpr ParameterInfo none_parameters[] = {
    {.name = "warn",
     .type = ParameterType::boolean,
     .default_value = "yes",
     .help = "say at each checkpoint and restart that no state is saved"},
};

}  // namespace

extern constinit const ComponentInfo component_none{
    .name = "none",
    .version = "0.1.0",
    .priority = 0,
    .summary = "saves no state; a restart starts the program anew (only when asked for by name)",
    .parameters = none_parameters,
    .make = [](const ParameterView& values) -> std::unique_ptr<Component> {
      return std::make_unique<None>(values.boolean("warn"));
    }};

}  // namespace crs
