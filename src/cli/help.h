// SPDX-License-Identifier: Apache-2.0
// Help: the texts about the program as a whole, and how commands become part of the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/command.h"

namespace crs {

// The whole command line: every command declared, options bound to `commands`.
class CommandLine {
 public:
  explicit CommandLine(Invocation& invocation);

  struct Entry {
    const CommandInfo* info;
    std::unique_ptr<Command> command;
    CLI::App* app;
  };
  CLI::App& app() { return app_; }
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* find(std::string_view name) const;
  // "did you mean restart? `crs help` lists all"
  std::string hint_for(std::string_view wrong_name) const;

 private:
  CLI::App app_;
  std::vector<Entry> entries_;  // by position, then name
};

std::string version_text();

}  // namespace crs
