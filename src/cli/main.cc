// SPDX-License-Identifier: Apache-2.0
// crs: finds the command and runs it.
//
// What this file knows
//   Exit status 2 for a malformed command line, 10 for an exception that nobody expected. Descriptors 0, 1
//   and 2 that are closed at the start are opened on /dev/null first: else the first file opened would become
//   standard output.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/help.h"
#include "service/parameters.h"

namespace {

struct Entry {
  const crs::CommandInfo* info;
  std::unique_ptr<crs::Command> command;
  CLI::App* app;
};

bool open_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (open("/dev/null", O_RDWR) < 0) return false;  // gets the lowest free number, which is fd
  }
  return true;
}

int usage_error(const std::string& action, const std::string& message, const std::string& hint) {
  std::fprintf(stderr, "crs: %s%s\nhint: %s\n", action.c_str(), message.c_str(), hint.c_str());
  return 2;
}

int run(int argc, char** argv) {
  CLI::App app(crs::program_summary(), "crs");
  app.set_help_flag("-h,--help", "print this help");
  app.set_version_flag("-V,--version", crs::version_text());
  app.footer(crs::program_footer());
  app.require_subcommand(0, 1);
  crs::Invocation invocation{.assignments = {}, .environment = environ};

  std::vector<Entry> entries;
  for (const auto* info : crs::sorted_commands()) {
    Entry entry{.info = info, .command = info->make(), .app = app.add_subcommand(info->name, info->summary)};
    entry.app->set_help_flag("-h,--help", "print this help");
    entry.app
        ->add_option("--param", invocation.assignments,
                     "set a parameter for this run (`crs params` lists them)")
        ->type_name("OWNER.NAME=VALUE")
        ->expected(1)
        ->take_all();
    entry.command->declare(*entry.app);
    entries.push_back(std::move(entry));
  }

  if (argc < 2) {
    std::fprintf(stderr, "%s", app.help().c_str());
    return 2;
  }
  if (argv[1][0] != '-') {
    const std::string name = argv[1];
    std::vector<std::string> names;
    for (const auto& entry : entries) names.emplace_back(entry.info->name);
    if (std::ranges::find(names, name) == names.end()) {
      const auto near = crs::nearest_name(name, names);
      return usage_error("", "there is no command '" + name + "'",
                         (near ? "did you mean " + *near + "? " : "") + "`crs help` lists all");
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    for (const auto& entry : entries) {
      if (entry.app->parsed()) {
        return usage_error(std::string(entry.info->name) + ": ", error.what(),
                           "`crs help " + std::string(entry.info->name) + "` tells how it is used");
      }
    }
    return usage_error("", error.what(), "`crs help` tells how it is used");
  }
  for (const auto& entry : entries) {
    if (entry.app->parsed()) return entry.command->run(invocation);
  }
  return usage_error("", "no command was given", "`crs help` lists all");
}

}  // namespace

int main(int argc, char** argv) {
  if (!open_standard_descriptors()) return 10;
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "crs: out of memory\n");
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "crs: bug: %s\n", exception.what());
  }
  return 10;
}
