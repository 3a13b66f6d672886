// SPDX-License-Identifier: Apache-2.0
#include "os/children.h"

#include <algorithm>
#include <string_view>

namespace crs {

Result<std::vector<Pid>> read_children(const ProcDir& task) {
  CRS_TRY(const std::string list, task.read("children"));
  std::vector<Pid> children;
  for (std::string_view text = list; !text.empty();) {
    const auto end = std::min(text.find_first_of(" \n"), text.size());
    if (const auto child = parse_number(text.substr(0, end)))
      children.emplace_back(static_cast<pid_t>(*child));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return children;
}

}  // namespace crs
