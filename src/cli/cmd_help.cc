// SPDX-License-Identifier: Apache-2.0
// crs help: what the program or one command does.
#include "cli/help.h"
#include "cli/report.h"

namespace crs {
namespace {

class Help : public Command {
 public:
  void declare(CLI::App& app) override { app.add_option("COMMAND", command_, "the command"); }

  int run(const Invocation&) override {
    const Report report("help", false);
    Invocation unused;
    CommandLine line(unused);
    if (command_.empty()) return report.print(line.app().help());
    const auto* entry = line.find(command_);
    if (entry != nullptr) return report.print(entry->app->help("crs"));
    return report.fail(
        Error(Errc::usage, "there is no command '" + command_ + "'").with_hint(line.hint_for(command_)));
  }

 private:
  std::string command_;
};

}  // namespace

extern constinit const CommandInfo command_cmd_help{
    .name = "help",
    .summary = "tell how a command is used",
    .position = 100,
    .make = []() -> std::unique_ptr<Command> { return std::make_unique<Help>(); }};

}  // namespace crs
