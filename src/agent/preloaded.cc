// SPDX-License-Identifier: Apache-2.0
// Preloaded: a program that `crs run --agent` started takes part from its first line on.
//
// What this file knows
//   Only where the environment asks for it (service/agent_variables.h) does loading the library do anything.
//   Whatever goes wrong, the program runs as it would without us. `crs` itself, started below such a program,
//   takes no part: what it restarts is made of a copy of it.
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>

#include "agent/critical_sections.h"
#include "agent/run_crs.h"
#include "service/agent_variables.h"

namespace crs::agent {
namespace {

bool is_crs_itself() {
  struct stat ours {};
  struct stat theirs {};
  const auto crs = find_crs();
  return crs && stat("/proc/self/exe", &ours) == 0 && stat(crs->c_str(), &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

[[gnu::constructor]] void join_if_asked() {
  const char* const asked = secure_getenv(agent_variable);
  if (asked == nullptr || std::strcmp(asked, agent_value) != 0) return;
  try {
    if (!is_crs_itself()) (void)join();
  } catch (...) {  // out of memory: then it takes no part
  }
}

}  // namespace
}  // namespace crs::agent
