// SPDX-License-Identifier: Apache-2.0
// Commands: one file each, found by name.
//
// How to add a command
//   Write src/cli/cmd_x.cc: a class derived from Command, in an anonymous namespace, with its help text
//   inside, and as its last lines the registration:
//     extern constinit const CommandInfo command_cmd_x{
//         .name = "x", .summary = "...", .position = 50,
//         .make = []() -> std::unique_ptr<Command> { return std::make_unique<X>(); }};
//   Nothing else. CMake makes the table, and `crs help` prints it.
#pragma once

#include <bitset>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "os/result.h"
#include "service/service.h"

namespace CLI {
class App;
}

namespace crs {

// What main() found before it called the command.
struct Invocation {
  std::vector<std::string> assignments;      // --param OWNER.NAME=VALUE
  const char* const* environment = nullptr;  // environ(7)
  std::bitset<3> closed_at_start;            // standard descriptors, which are /dev/null meanwhile
  std::vector<std::string> program;  // of a command that starts one: the words behind the command's own
  bool program_was_marked = false;   // they came behind "--"

  Result<Service> make_service() const;
};

class Command {
 public:
  virtual ~Command() = default;
  // Adds options and help text.
  virtual void declare(CLI::App& app) = 0;
  // The exit status.
  virtual int run(const Invocation& invocation) = 0;
};

struct CommandInfo {
  const char* name;
  const char* summary;
  int position;                 // in lists: smaller first
  bool starts_program = false;  // its first argument begins another command line (Invocation::program)
  std::unique_ptr<Command> (*make)();
};

// The table made by CMake from the names src/cli/cmd_*.cc.
std::span<const CommandInfo* const> builtin_commands();

}  // namespace crs
