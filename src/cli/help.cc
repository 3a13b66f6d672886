// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <algorithm>
#include <string_view>

#include "store/manifest.h"

namespace crs {

std::string program_summary() {
  return "crs saves a running program and brings it back later: after a crash, a reboot, or ten times over.";
}

std::string program_footer() {
  return "Exit status: 0 ok, 2 usage, 3 no such process or snapshot, 4 no permission, 5 refused,\n"
         "6 busy, 7 time-out, 8 bad snapshot, 9 storage failed, 10 anything else. `crs restart` in the\n"
         "foreground passes on the program's own, or 125 when it could not be brought back.\n"
         "`crs help COMMAND` and crs(1) tell more.";
}

std::string version_text() {
  return "crs " CRS_VERSION " (snapshot format " + std::to_string(store::format_version) + ")";
}

std::vector<const CommandInfo*> sorted_commands() {
  const auto table = builtin_commands();
  std::vector<const CommandInfo*> sorted(table.begin(), table.end());
  std::ranges::sort(sorted, [](const CommandInfo* a, const CommandInfo* b) {
    if (a->position != b->position) return a->position < b->position;
    return std::string_view(a->name) < b->name;
  });
  return sorted;
}

Result<Service> Invocation::make_service() const {
  return Service::create(
      builtin_components(),
      {.assignments = assignments, .environment = environment, .config_files = default_config_files()});
}

}  // namespace crs
