// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <algorithm>
#include <string_view>

#include "service/installation.h"
#include "service/parameters.h"
#include "store/manifest.h"

namespace crs {

namespace {

constexpr const char* summary =
    "crs saves a running program and brings it back later: after a crash, a reboot, or ten times over.";

constexpr const char* footer =
    "Exit status: 0 ok, 2 usage, 3 no such process or snapshot, 4 no permission, 5 refused,\n"
    "6 busy, 7 time-out, 8 bad snapshot, 9 storage failed, 10 anything else. `crs run` and `crs restart` in\n"
    "the foreground pass on the program's own, or tell by 125 to 127 that it could not be started.\n"
    "`crs help COMMAND` and crs(1) tell more.";

std::vector<const CommandInfo*> sorted_commands() {
  const auto table = builtin_commands();
  std::vector<const CommandInfo*> sorted(table.begin(), table.end());
  std::ranges::sort(sorted, [](const CommandInfo* a, const CommandInfo* b) {
    if (a->position != b->position) return a->position < b->position;
    return std::string_view(a->name) < b->name;
  });
  return sorted;
}

}  // namespace

CommandLine::CommandLine(Invocation& invocation) : app_(summary, "crs") {
  app_.set_help_flag("-h,--help", "print this help");
  app_.set_version_flag("-V,--version", version_text());
  app_.footer(footer);
  app_.require_subcommand(0, 1);
  for (const auto* info : sorted_commands()) {
    Entry entry{.info = info, .command = info->make(), .app = app_.add_subcommand(info->name, info->summary)};
    entry.app->set_help_flag("-h,--help", "print this help");
    entry.app->add_option("--param", invocation.assignments, "set a parameter (`crs params` lists them)")
        ->type_name("OWNER.NAME=VALUE")
        ->expected(1)
        ->take_all();
    if (info->starts_program) entry.app->prefix_command();
    entry.command->declare(*entry.app);
    entries_.push_back(std::move(entry));
  }
}

const CommandLine::Entry* CommandLine::find(std::string_view name) const {
  const auto found =
      std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.info->name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

std::string CommandLine::hint_for(std::string_view wrong_name) const {
  std::vector<std::string> names;
  for (const auto& entry : entries_) names.emplace_back(entry.info->name);
  const auto near = nearest_name(wrong_name, names);
  return (near ? "did you mean " + *near + "? " : "") + "`crs help` lists all";
}

std::string version_text() {
  return "crs " CRS_VERSION " (snapshot format " + std::to_string(store::format_version) + ")";
}

Result<Service> Invocation::make_service() const {
  return Service::create(builtin_components(), {.assignments = assignments,
                                                .environment = environment,
                                                .config_files = default_config_files(),
                                                .component_path = component_folder()});
}

}  // namespace crs
