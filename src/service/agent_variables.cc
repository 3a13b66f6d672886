// SPDX-License-Identifier: Apache-2.0
#include "service/agent_variables.h"

#include <algorithm>

namespace crs {
namespace {

std::vector<std::string>::iterator find_variable(std::vector<std::string>& environment,
                                                 std::string_view name) {
  return std::ranges::find_if(environment, [&](const std::string& entry) {
    return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
  });
}

bool lists(std::string_view preloaded, std::string_view library) {
  while (!preloaded.empty()) {
    const auto end = std::min(preloaded.find_first_of(": "), preloaded.size());
    if (preloaded.substr(0, end) == library) return true;
    preloaded.remove_prefix(std::min(end + 1, preloaded.size()));
  }
  return false;
}

}  // namespace

void set_variable(std::vector<std::string>& environment, std::string_view name, std::string_view value) {
  std::string entry = std::string(name) + "=" + std::string(value);
  if (const auto found = find_variable(environment, name); found != environment.end()) {
    *found = std::move(entry);
  } else {
    environment.push_back(std::move(entry));
  }
}

Status add_agent(std::vector<std::string>& environment, const std::string& library) {
  constexpr std::string_view preload = "LD_PRELOAD";
  if (library.find_first_of(": ") != std::string::npos) {
    return Error(Errc::unsupported,
                 "'" + library + "' has a space or colon in its path, and LD_PRELOAD cannot name it")
        .with_hint("set CRS_LIBRARY to a symbolic link without one");
  }
  const auto found = find_variable(environment, preload);
  const std::string former = found == environment.end() ? "" : found->substr(preload.size() + 1);
  if (!lists(former, library))
    set_variable(environment, preload, former.empty() ? library : former + ":" + library);
  set_variable(environment, agent_variable, agent_value);
  return ok();
}

}  // namespace crs
