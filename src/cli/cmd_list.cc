// SPDX-License-Identifier: Apache-2.0
// crs list: the jobs of a store and their snapshots.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/report.h"
#include "os/file_io.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "Without JOB the latest snapshot of each job, with JOB all of that job. A snapshot whose manifest cannot "
    "be\n"
    "read is listed as damaged (`crs verify` tells more).";

struct Row {
  store::Generation generation;
  std::uint64_t of = 0;  // how many the job has
  std::optional<store::Manifest> manifest;
};

Row make_row(store::Generation generation, std::uint64_t of) {
  Row row{.generation = std::move(generation), .of = of, .manifest = {}};
  const std::string path = row.generation.path + "/manifest.json";
  auto text = read_file(path);
  if (!text) return row;
  auto manifest = store::Manifest::parse(*text, path);
  if (manifest) row.manifest = std::move(*manifest);
  return row;
}

std::string command_line(const store::Manifest& manifest) {
  std::string line;
  for (const auto& argument : manifest.arguments) line += (line.empty() ? "" : " ") + argument;
  if (line.empty()) line = manifest.command;
  if (line.size() > 60) line = line.substr(0, 57) + "...";
  for (auto& c : line) c = c == '\n' ? ' ' : c;
  return line;
}

class List : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("JOB", job_, "all snapshots of this job");
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "as JSON");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const Report report(job_.empty() ? "list" : "list " + job_, json_);
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    auto rows = find_rows(*service);
    if (!rows) return report.fail(rows.error());
    return json_ ? answer(report, *rows) : tell(report, *rows);
  }

 private:
  Result<std::vector<Row>> find_rows(const Service& service) const {
    CRS_TRY(const auto deadline, parse_timeout(timeout_));
    std::vector<Row> rows;
    auto store = open_store(store_, service, false);
    if (!store) {
      // A store that nobody has made yet is empty, unless it was named.
      if (store.error().code() == Errc::not_found && store_.empty() && job_.empty()) return rows;
      return std::move(store).error();
    }
    std::vector<std::string> jobs{job_};
    if (job_.empty()) {
      CRS_TRY(jobs, store->jobs());
    } else if (!store::Store::valid_job_name(job_)) {
      return Error(Errc::usage, "'" + job_ + "' is no name for a job");
    }
    for (const auto& job : jobs) {
      CRS_CHECK(deadline.check("the store was being read"));
      auto generations = store->generations(job);
      if (!generations) {
        if (job_.empty() && generations.error().code() == Errc::not_found) continue;  // removed meanwhile
        return std::move(generations).error();
      }
      const std::uint64_t count = generations->size();
      if (count == 0 && !job_.empty())
        return Error(Errc::not_found, "there is no job " + job_ + " in " + store->path());
      for (auto& generation : *generations) {
        if (job_.empty() && &generation != &generations->back()) continue;
        rows.push_back(make_row(std::move(generation), count));
      }
    }
    return rows;
  }

  int tell(const Report& report, const std::vector<Row>& rows) const {
    if (rows.empty()) {
      report.say("no snapshots");
      return 0;
    }
    std::size_t width = 8;
    for (const auto& row : rows) width = std::max(width, row.generation.job.size() + 8);
    std::string text = fmt::format("{:<{}}  {:<19}  {:>9}  {:>7}  {}\n", "SNAPSHOT", width, "SAVED", "SIZE",
                                   "THREADS", "COMMAND");
    for (const auto& row : rows) {
      const auto name = fmt::format("{}@{}", row.generation.job, row.generation.number);
      const auto size = format_bytes(row.generation.bytes);
      if (row.manifest) {
        text += fmt::format("{:<{}}  {:<19}  {:>9}  {:>7}  {}\n", name, width,
                            format_time(row.manifest->created_ns), size, row.manifest->threads,
                            command_line(*row.manifest));
      } else {
        text += fmt::format("{:<{}}  {:<19}  {:>9}  {:>7}  {}\n", name, width, "damaged", size, "-",
                            row.generation.path);
      }
    }
    return report.print(printable(text));
  }

  static int answer(const Report& report, const std::vector<Row>& rows) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& row : rows) {
      nlohmann::json value = {{"job", row.generation.job},     {"generation", row.generation.number},
                              {"generations", row.of},         {"path", row.generation.path},
                              {"bytes", row.generation.bytes}, {"damaged", !row.manifest.has_value()}};
      if (row.manifest) {
        value["created_ns"] = row.manifest->created_ns;
        value["component"] = row.manifest->component;
        value["pid"] = row.manifest->pid;
        value["command"] = row.manifest->command;
        value["arguments"] = row.manifest->arguments;
        value["threads"] = row.manifest->threads;
        value["memory_bytes"] = row.manifest->memory_bytes;
        value["host"] = row.manifest->host;
      }
      list.push_back(std::move(value));
    }
    return report.answer(list);
  }

  std::string job_, store_, timeout_;
  bool json_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_list{
    .name = "list",
    .summary = "list jobs and their snapshots",
    .position = 40,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<List>(); }};

}  // namespace crs
