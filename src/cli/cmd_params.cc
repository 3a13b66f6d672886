// SPDX-License-Identifier: Apache-2.0
// crs params: every parameter, its value, and where that came from.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/report.h"

namespace crs {
namespace {

constexpr const char* help_text =
    "A value comes from, in this order: --param OWNER.NAME=VALUE, the environment variable CRS_OWNER_NAME, "
    "a\n"
    "config file ($XDG_CONFIG_HOME/crs/config or ~/.config/crs/config, then /etc/crs/config), the default.\n"
    "A config file has lines 'owner.name = value'; '#' starts a comment line.";

class Params : public Command {
 public:
  void declare(CLI::App& app) override {
    app.add_option("OWNER", owner_, "only those of this owner (service or a component), or only OWNER.NAME");
    app.add_option("--timeout", timeout_, "give up after this long: 30, 500ms, 5m")->type_name("TIME");
    app.add_flag("--json", json_, "as JSON");
    app.footer(help_text);
  }

  int run(const Invocation& invocation) override {
    const Report report("params", json_);
    const auto deadline = parse_timeout(timeout_);
    if (!deadline) return report.fail(deadline.error());
    auto service = invocation.make_service();
    if (!service) return report.fail(service.error());
    if (auto in_time = deadline->check("parameters were being read"); !in_time)
      return report.fail(in_time.error());
    std::string text;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& parameter : service->parameters().list()) {
      if (!owner_.empty() && owner_ != parameter.owner && owner_ != parameter.full_name()) continue;
      text += fmt::format("{} = {}\n  {} ({}, default '{}'; now from: {})\n", parameter.full_name(),
                          parameter.value, parameter.info.help, to_string(parameter.info.type),
                          parameter.default_value,
                          parameter.origin.empty() ? to_string(parameter.source) : parameter.origin);
      list.push_back({{"name", parameter.full_name()},
                      {"type", to_string(parameter.info.type)},
                      {"value", parameter.value},
                      {"default", parameter.default_value},
                      {"source", to_string(parameter.source)},
                      {"origin", parameter.origin},
                      {"help", parameter.info.help}});
    }
    if (list.empty()) {
      Error error(Errc::not_found, "nobody called '" + owner_ + "' has parameters");
      if (const auto near = service->parameters().nearest(owner_))
        error.set_hint("did you mean " + *near + "?");
      return report.fail(error);
    }
    return json_ ? report.answer(list) : report.print(printable(text));
  }

 private:
  std::string owner_, timeout_;
  bool json_ = false;
};

}  // namespace

extern constinit const CommandInfo command_cmd_params{
    .name = "params",
    .summary = "list parameters and their values",
    .position = 90,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Params>(); }};

}  // namespace crs
