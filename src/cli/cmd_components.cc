// SPDX-License-Identifier: Apache-2.0
// crs components: which checkpointers there are, which one would serve, and why.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/report.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "The one with the highest priority that can serve is chosen; equal ones go by name. Parameter\n"
    "service.components narrows the choice ('a,b' or '^a,b'), NAME.priority changes the order, and\n"
    "--component NAME of `crs checkpoint` takes that one or fails.";

class Components : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("PID", pid_, "ask about this process");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "as JSON");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const Report report("components", json_);
    const auto deadline = parse_timeout(timeout_);
    if (!deadline) return report.fail(deadline.error());
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    Target target;
    if (!pid_.empty()) {
      auto pid = parse_pid(pid_);
      if (!pid) return report.fail(pid.error());
      if (auto checked = check_pid(*pid); !checked) return report.fail(checked.error());
      target.pid = *pid;
    }
    const auto selection = service->explain(target);
    if (auto in_time = deadline->check("the components were being asked"); !in_time)
      return report.fail(in_time.error());
    return json_ ? answer(report, *service, selection) : tell(report, *service, selection);
  }

 private:
  static int tell(const Report& report, const Service& service, const Selection& selection) {
    std::string text;
    for (const auto& candidate : selection.candidates) {
      const auto& info = *candidate.loaded->info;
      text += fmt::format("{} {} (priority {}): {}\n  {}\n", info.name, info.version,
                          candidate.loaded->priority, info.summary, candidate.verdict);
      for (const auto& capability : candidate.report.capabilities) {
        text += fmt::format("  {} {}{}{}\n", capability.present ? "yes" : " no", capability.name,
                            capability.detail.empty() ? "" : ": ", capability.detail);
      }
      if (const auto* path = service.path_of(*candidate.loaded)) text += fmt::format("  from {}\n", *path);
    }
    for (const auto& rejected : service.rejected_plugins())
      text += fmt::format("{}\n  not loaded: {}\n", rejected.path, rejected.reason);
    return report.print(printable(text));
  }

  static int answer(const Report& report, const Service& service, const Selection& selection) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& candidate : selection.candidates) {
      const auto& info = *candidate.loaded->info;
      nlohmann::json capabilities = nlohmann::json::array();
      for (const auto& capability : candidate.report.capabilities) {
        capabilities.push_back(
            {{"name", capability.name}, {"present", capability.present}, {"detail", capability.detail}});
      }
      const auto* path = service.path_of(*candidate.loaded);
      list.push_back({{"name", info.name},
                      {"path", path != nullptr ? nlohmann::json(*path) : nlohmann::json(nullptr)},
                      {"type", info.type},
                      {"interface", info.interface_version},
                      {"version", info.version},
                      {"priority", candidate.loaded->priority},
                      {"summary", info.summary},
                      {"excluded", candidate.excluded},
                      {"can_serve", candidate.report.can_serve},
                      {"chosen", candidate.loaded == selection.chosen},
                      {"verdict", candidate.verdict},
                      {"capabilities", capabilities}});
    }
    for (const auto& rejected : service.rejected_plugins()) {
      list.push_back({{"name", rejected.name},
                      {"path", rejected.path},
                      {"can_serve", false},
                      {"chosen", false},
                      {"verdict", "not loaded: " + rejected.reason}});
    }
    return report.answer(list);
  }

  std::string pid_, timeout_;
  bool json_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_components{
    .name = "components",
    .summary = "list the checkpointers and tell which would serve",
    .position = 80,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Components>(); }};

}  // namespace crs
