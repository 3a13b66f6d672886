// SPDX-License-Identifier: Apache-2.0
// self: the checkpointer of programs that save and load their own state (crs_self_*() of libcrs).
//
// What this file knows
//   Nothing is frozen. The program's hooks have run, its callback with them, and the gate is closed, so that
//   nobody enters a critical section: then the regions and sections that the program published are read from
//   its memory. A restart starts the program anew, which inherits the state in a sealed memory file; libcrs
//   puts it where it belongs when the program says so (agent/self_state.h). All is checked before there is a
//   process.
//
// Kernel interfaces: proc(5), process_vm_readv(2), execve(2).
#include <filesystem>

#include "components/self/saved_state.h"
#include "os/proc.h"
#include "service/agent_variables.h"
#include "service/component.h"
#include "service/process_facts.h"
#include "service/start_program.h"

namespace crs {
namespace {

constexpr const char* section_name = "self";

Error takes_no_part() {
  return Error(Errc::refused,
               "the program does not save its own state: it protected no memory by "
               "crs_self_protect() and has no callback of component self")
      .with_hint("`crs checkpoint` without --component saves it from outside");
}

Result<SelfTable> read_table(Pid pid, const ControlPage& page) {
  const std::uint64_t at = page.table.load(), bytes = page.table_bytes.load();
  if (at == 0 || bytes == 0 || bytes > max_self_table) return takes_no_part();
  std::string text(bytes, '\0');
  CRS_CHECK(read_process(pid, at, std::as_writable_bytes(std::span(text)), "the table of what it saves"));
  auto table = decode_self_table(text);
  if (!table) return std::move(table.error().set_code(Errc::refused));
  return table;
}

bool is_ours(std::string_view variable) {
  return variable.starts_with(std::string(self_state_variable) + "=") ||
         variable.starts_with(std::string(self_snapshot_variable) + "=");
}

Result<self::State> make_state(Pid pid, const ProcessFacts& facts, const SelfTable& table) {
  self::State state;
  CRS_TRY(const auto proc, ProcDir::open(pid));
  CRS_TRY(const auto directory, proc.read_link("cwd"));
  state.set_executable(table.has_command ? table.arguments[0] : facts.executable);
  state.set_directory(table.directory.empty() ? directory : table.directory);
  for (const auto& word : table.has_command ? table.arguments : facts.arguments) state.add_arguments(word);
  if (table.has_environment) {
    for (const auto& variable : table.environment) state.add_environment(variable);
  } else {
    CRS_TRY(const auto environment, proc.read("environ"));
    for (const auto& variable : split_at_nul(environment)) {
      if (!is_ours(variable)) state.add_environment(variable);
    }
  }
  if (state.arguments().empty()) return Error(Errc::refused, "the process has no arguments to start it by");
  state.set_prefix(table.prefix);
  state.set_restarts(table.restarts);
  for (const auto& each : table.parts) {
    auto& part = *state.add_parts();
    part.set_name(each.name);
    part.set_kind(static_cast<std::uint32_t>(each.kind));
    part.set_size(each.bytes);
  }
  return state;
}

Result<self::State> load(const store::SnapshotReader& snapshot) {
  CRS_TRY(const auto bytes, snapshot.section(section_name));
  self::State state;
  if (!state.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error(Errc::bad_snapshot, "section self cannot be parsed");
  CRS_CHECK(ProgramStart::of(state).check(section_name));
  return state;
}

class Self : public Component {
 public:
  CapabilityReport query(const Target& target) const override {
    CapabilityReport report;
    report.capabilities.push_back({"saves the state", true, "what the program protects or writes by itself"});
    report.capabilities.push_back({"restores the old pid", false, "a restart starts the program anew"});
    // Whoever names it hears from the checkpoint itself what is wrong with the process.
    report.can_serve = !target.pid || target.by_name;
    if (report.can_serve) return report;
    const auto gate = Gate::find(*target.pid);
    report.can_serve = gate && *gate && (*gate)->page().offers.load() != 0;
    if (!report.can_serve) report.reason = gate ? takes_no_part().to_string() : gate.error().to_string();
    return report;
  }

  Result<SavedProcess> checkpoint(const CheckpointRequest& request, store::SnapshotWriter& writer,
                                  store::Manifest manifest, Observer& observer) const override {
    const auto started = std::chrono::steady_clock::now();
    CRS_TRY(const auto facts, collect_facts(request.pid));
    if (request.gate == nullptr) return takes_no_part();
    CRS_CHECK(
        request.gate->close(request.deadline, [&](const std::string& text) { observer.delayed(text); }));
    observer.phase("memory");
    CRS_TRY(const auto table, read_table(request.pid, request.gate->page()));
    CRS_TRY(const auto state, make_state(request.pid, facts, table));
    CRS_CHECK(save_parts(request.pid, table.parts, writer.pages(), request.deadline));
    const bool runs = request.after == AfterCheckpoint::run;
    if (runs) request.gate->release();
    SavedProcess saved;
    for (const auto& part : table.parts) saved.memory_bytes += part.bytes;
    std::string bytes;
    if (!state.SerializeToString(&bytes)) return Error(Errc::bug, "cannot serialize section self");
    CRS_CHECK(writer.add_section(section_name, std::move(bytes)));
    describe(facts, request.pid, manifest);
    manifest.memory_bytes = saved.memory_bytes;
    CRS_TRY(saved.path, writer.commit(std::move(manifest)));
    if (request.after == AfterCheckpoint::terminate) {
      if (auto note = request.gate->end_hooks(request.deadline)) saved.notes.push_back(std::move(*note));
    }
    CRS_CHECK(end_or_stop(facts, request.after));
    saved.stored_bytes = writer.page_summary().stored_bytes;
    saved.threads = facts.threads;
    saved.total = std::chrono::steady_clock::now() - started;
    return saved;
  }

  Result<Outlook> examine(const ExamineRequest& request) const override {
    CRS_TRY(const auto facts, collect_facts(request.pid));
    CRS_TRY(const auto gate, Gate::find(request.pid));
    Outlook outlook;
    outlook.threads = facts.threads;
    outlook.command = facts.stat.comm;
    if (!gate || gate->page().offers.load() == 0) return takes_no_part();
    outlook.notes.emplace_back("component self saves what the program protects or writes by itself, no more");
    return outlook;
  }

  Result<RestartInfo> restart(const store::SnapshotReader& snapshot, const RestartRequest& request,
                              Observer&) const override {
    const auto started = std::chrono::steady_clock::now();
    CRS_CHECK(check_starts_anew(section_name, request));
    CRS_TRY(const auto state, load(snapshot));
    SelfTable table;
    table.prefix = state.prefix();
    table.snapshot = snapshot.path();
    table.restarts = state.restarts() + 1;
    CRS_TRY(const auto file, hand_over(snapshot, state, std::move(table), request.deadline));
    ProgramStart program = ProgramStart::of(state);
    program.passed_fd = file.get();
    set_variable(program.environment, self_state_variable, std::to_string(file.get()));
    set_variable(program.environment, self_snapshot_variable, snapshot.path());
    CRS_TRY(auto info, start_program(program, request));
    info.total = std::chrono::steady_clock::now() - started;
    return info;
  }

  Result<nlohmann::json> inspect(const store::SnapshotReader& snapshot) const override {
    CRS_TRY(const auto state, load(snapshot));
    nlohmann::json regions = nlohmann::json::array(), sections = nlohmann::json::array();
    for (const auto& part : state.parts())
      (part.kind() == 1 ? regions : sections).push_back({{"name", part.name()}, {"bytes", part.size()}});
    return nlohmann::json{
        {section_name,
         {{"executable", state.executable()},
          {"directory", state.directory()},
          {"arguments", std::vector<std::string>(state.arguments().begin(), state.arguments().end())},
          {"environment_variables", state.environment_size()},
          {"prefix", state.prefix()},
          {"restarts", state.restarts()},
          {"regions", regions},
          {"sections", sections}}}};
  }
};

}  // namespace

extern constinit const ComponentInfo component_self{
    .name = "self",
    .version = "0.1.0",
    .priority = 10,
    .summary = "saves what a program protects or writes by itself (crs_self_*); a restart starts it anew",
    .make = [](const ParameterView&) -> std::unique_ptr<Component> { return std::make_unique<Self>(); }};

}  // namespace crs
