// SPDX-License-Identifier: Apache-2.0
// crs inspect: what is in a snapshot.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/outline.h"
#include "cli/report.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "SNAPSHOT is a path, JOB (its latest) or JOB@N. Prints where it comes from, and what each part of it "
    "holds:\n"
    "threads, mappings, descriptors and the rest. Reads everything but the pages of memory.";

class Inspect : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("SNAPSHOT", snapshot_, "a path, JOB or JOB@N")->required();
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "as JSON: {\"manifest\": ..., \"sections\": ...}");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const Report report("inspect " + snapshot_, json_);
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    auto value = work(*service);
    if (!value) return report.fail(value.error());
    if (json_) return report.answer(*value);
    return report.print(printable(value->at("summary").get<std::string>() + outline(value->at("sections"))));
  }

 private:
  Result<nlohmann::json> work(const Service& service) const {
    CRS_TRY(const auto deadline, parse_timeout(timeout_));
    CRS_TRY(const auto path, find_snapshot(snapshot_, store_, service));
    CRS_TRY(const auto reader, store::SnapshotReader::open(path));
    CRS_CHECK(deadline.check("the snapshot was being read"));
    CRS_TRY(const auto* maker, service.maker_of(reader.manifest()));
    CRS_TRY(auto sections, maker->component->inspect(reader));
    CRS_CHECK(deadline.check("the snapshot was being read"));
    nlohmann::json value;
    value["path"] = reader.path();
    value["sections"] = std::move(sections);
    if (json_) {
      value["manifest"] = nlohmann::json::parse(reader.manifest().to_json_text());
    } else {
      value["summary"] = summary(reader);
    }
    return value;
  }

  static std::string summary(const store::SnapshotReader& reader) {
    const auto& manifest = reader.manifest();
    std::string arguments;
    for (const auto& argument : manifest.arguments)
      arguments += (arguments.empty() ? "" : " ") + shell_word(argument);
    std::uint64_t stored = 0;
    for (const auto& file : manifest.files) stored += file.bytes;
    std::string text;
    const auto line = [&](std::string_view name, const std::string& words) {
      if (!words.empty()) text += fmt::format("{:<12}{}\n", name, words);
    };
    line("snapshot", reader.path());
    line("job", manifest.job.empty() ? "" : manifest.job + "@" + std::to_string(manifest.generation));
    line("saved", format_time(manifest.created_ns) + " on " + manifest.host + " (Linux " + manifest.kernel +
                      ", " + manifest.architecture + ")");
    line("by", "crs " + manifest.crs_version + ", component " + manifest.component);
    line("process", fmt::format("{} ({}), uid {}, {} threads", manifest.pid, manifest.command, manifest.uid,
                                manifest.threads));
    line("executable", manifest.executable);
    line("arguments", arguments);
    line("memory",
         format_bytes(manifest.memory_bytes) +
             (manifest.left_out_bytes != 0 ? " (" + format_bytes(manifest.left_out_bytes) + " were left out)"
                                           : std::string()) +
             ", stored with the rest in " + format_bytes(stored));
    line("stood still", format_span(std::chrono::nanoseconds(manifest.stop_ns)));
    for (const auto& file : manifest.files)
      line("file", fmt::format("{} ({})", file.name, format_bytes(file.bytes)));
    return text;
  }

  std::string snapshot_, store_, timeout_;
  bool json_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_inspect{
    .name = "inspect",
    .summary = "show what is in a snapshot",
    .position = 50,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Inspect>(); }};

}  // namespace crs
