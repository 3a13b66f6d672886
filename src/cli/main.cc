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
#include <bitset>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "cli/help.h"
#include "cli/report.h"

namespace {

bool open_standard_descriptors(std::bitset<3>& were_closed) {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    were_closed.set(static_cast<std::size_t>(fd));
    if (open("/dev/null", O_RDWR) < 0) return false;  // gets the lowest free number, which is fd
  }
  return true;
}

// The option that was given with an empty value: an unset variable of a shell, which must not stand for the
// default.
std::string empty_option(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands()) {
    for (const CLI::Option* option : command->get_options()) {
      if (!option->nonpositional()) continue;
      for (const std::string& value : option->results()) {
        if (value.empty()) return option->get_name();
      }
    }
  }
  return {};
}

// The place of the first "--", or argc.
int find_mark(int argc, char** argv) {
  int at = 1;
  while (at < argc && std::strcmp(argv[at], "--") != 0) ++at;
  return at;
}

bool wants_json(int argc, char** argv) {
  for (int i = 1; i < find_mark(argc, argv); ++i) {
    if (std::strcmp(argv[i], "--json") == 0) return true;
  }
  return false;
}

int run(int argc, char** argv, std::bitset<3> closed_at_start) {
  crs::Invocation invocation;
  invocation.environment = environ;
  invocation.closed_at_start = closed_at_start;
  crs::CommandLine line(invocation);
  const auto usage_error = [&](const std::string& action, std::string message, std::string hint) {
    const crs::Report report(action, wants_json(argc, argv));
    return report.fail(crs::Error(crs::Errc::usage, std::move(message)).with_hint(std::move(hint)));
  };
  if (argc < 2) {
    std::fprintf(stderr, "%s", line.app().help().c_str());
    return 2;
  }
  if (argv[1][0] != '-' && line.find(argv[1]) == nullptr) {
    return usage_error("", "there is no command '" + std::string(argv[1]) + "'", line.hint_for(argv[1]));
  }
  const auto* entry = line.find(argv[1]);
  int own_words = argc;
  if (entry != nullptr && entry->info->starts_program) own_words = find_mark(argc, argv);
  try {
    line.app().parse(own_words, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return line.app().exit(success);
  } catch (const CLI::ParseError& error) {
    const std::string name = entry != nullptr ? entry->info->name : "";
    return usage_error(name, error.what(),
                       "`crs help" + (name.empty() ? "" : " " + name) + "` tells how it is used");
  }
  if (entry != nullptr) {
    if (entry->info->starts_program) {
      invocation.program = entry->app->remaining();
      invocation.program_was_marked = invocation.program.empty();
      const bool is_its_own = !invocation.program_was_marked;  // the mark came behind the program's name
      invocation.program.insert(invocation.program.end(),
                                argv + std::min(argc, own_words + (is_its_own ? 0 : 1)), argv + argc);
    }
    const std::string name = entry->info->name;
    const std::string empty = empty_option(line.app());
    if (!empty.empty()) {
      return usage_error(name, "the value of " + empty + " is empty",
                         "leave the option out for what it is by default; `crs help " + name + "` tells");
    }
    return entry->command->run(invocation);
  }
  return usage_error("", "no command was given", "`crs help` lists all");
}

}  // namespace

int main(int argc, char** argv) {
  std::bitset<3> closed_at_start;
  if (!open_standard_descriptors(closed_at_start)) return 10;
  try {
    return run(argc, argv, closed_at_start);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "crs: out of memory\n");
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "crs: bug: %s\n", exception.what());
  }
  return 10;
}
