// SPDX-License-Identifier: Apache-2.0
// crs rm: removes snapshots from a store.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/report.h"
#include "os/proc.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "  crs rm nightly@3              that snapshot\n"
    "  crs rm nightly --keep 2       all of the job but its two latest\n"
    "  crs rm nightly --all          all of the job\n"
    "\n"
    "Everything is looked up before anything is removed: a name that is wrong removes nothing.\n"
    "Snapshots made with -o are directories of your own; remove them as such.";

class Remove : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("SNAPSHOT", names_, "JOB@N, or JOB with --keep or --all")->required();
    auto* all = app.add_flag("--all", all_, "every snapshot of the jobs named");
    app.add_option("--keep", keep_, "every one but the K latest")->type_name("K")->excludes(all);
    app.add_option("--store", store_, "the store ($CRS_STORE, else ~/.local/state/crs)")->type_name("DIR");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "tell what was removed as JSON");
    app.add_flag("-q,--quiet", quiet_, "do not list what was removed");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    Report report("rm", json_);
    report.set_quiet(quiet_);
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    auto removed = work(*service);
    if (!removed) return report.fail(removed.error());
    nlohmann::json list = nlohmann::json::array();
    for (const auto& generation : *removed) {
      report.say("removed " + generation.job + "@" + std::to_string(generation.number) + " (" +
                 format_bytes(generation.bytes) + ")");
      list.push_back(
          {{"job", generation.job}, {"generation", generation.number}, {"bytes", generation.bytes}});
    }
    return json_ ? report.answer({{"removed", list}}) : 0;
  }

 private:
  Result<std::vector<store::Generation>> work(const Service& service) const {
    std::uint64_t keep = 0;
    if (!keep_.empty()) {
      const auto number = parse_number(keep_);
      if (!number) return Error(Errc::usage, "--keep wants a number, not '" + keep_ + "'");
      keep = *number;
    }
    CRS_TRY(const auto deadline, parse_timeout(timeout_));
    CRS_TRY(const auto store, open_store(store_, service, false));
    std::vector<store::Generation> chosen;
    for (const auto& name : names_) {
      CRS_TRY(auto found, choose(store, name, keep));
      for (auto& generation : found) {
        const bool twice =
            std::ranges::any_of(chosen, [&](const auto& other) { return other.path == generation.path; });
        if (!twice) chosen.push_back(std::move(generation));
      }
    }
    for (const auto& generation : chosen) {
      CRS_CHECK(deadline.check("snapshots were being removed"));
      auto removed = store.remove(generation);
      if (!removed) {
        return std::move(removed).error().with_context(generation.job + "@" +
                                                       std::to_string(generation.number));
      }
      store.forget_if_empty(generation.job);
    }
    return chosen;
  }

  Result<std::vector<store::Generation>> choose(const store::Store& store, const std::string& name,
                                                std::uint64_t keep) const {
    const auto at = name.rfind('@');
    const std::string job = name.substr(0, at);
    if (!store::Store::valid_job_name(job)) {
      return Error(Errc::usage, "'" + name + "' is neither JOB nor JOB@N")
          .with_hint("`crs list` shows the jobs");
    }
    auto generations = store.generations(job);
    if (!generations) return std::move(generations).error();
    if (generations->empty()) return Error(Errc::not_found, "there is no job " + job + " in " + store.path());
    if (at == std::string::npos) {
      if (!all_ && keep_.empty()) {
        return Error(Errc::usage,
                     job + " has " + std::to_string(generations->size()) + " snapshots: which ones?")
            .with_hint("crs rm " + job + "@" + std::to_string(generations->back().number) +
                       ", or --keep K, or --all");
      }
      const std::size_t count = generations->size() > keep ? generations->size() - keep : 0;
      generations->resize(count);
      return std::move(*generations);
    }
    if (all_ || !keep_.empty()) return Error(Errc::usage, "--all and --keep go with JOB, not with " + name);
    const auto number = parse_number(name.substr(at + 1));
    if (!number) return Error(Errc::usage, "'" + name + "' is neither JOB nor JOB@N");
    for (const auto& generation : *generations) {
      if (generation.number == *number) return std::vector{generation};
    }
    return Error(Errc::not_found, "there is no snapshot " + name + " in " + store.path());
  }

  std::vector<std::string> names_;
  std::string keep_, store_, timeout_;
  bool all_ = false, json_ = false, quiet_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_rm{
    .name = "rm", .summary = "remove snapshots", .position = 70, .make = []() -> std::unique_ptr<Command> {
      return std::make_unique<Remove>();
    }};

}  // namespace crs
