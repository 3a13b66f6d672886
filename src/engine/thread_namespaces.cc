// SPDX-License-Identifier: Apache-2.0
#include "engine/thread_namespaces.h"

namespace crs {

Status look_at_thread_namespaces(const ProcDir& target, std::map<Tid, ThreadNamespaces>& seen) {
  CRS_TRY(const auto tids, target.tasks());
  for (const Tid tid : tids) {
    if (seen.contains(tid)) continue;
    ThreadNamespaces namespaces;
    const std::string directory = "task/" + std::to_string(tid.v) + "/ns/";
    bool any = false;
    for (std::size_t i = 0; i < namespaces.size(); ++i) {
      auto link = target.read_link(directory + thread_namespace_entries[i]);
      if (!link) continue;
      namespaces[i] = std::move(*link);
      any = true;
    }
    if (any) seen.emplace(tid, std::move(namespaces));
  }
  return ok();
}

}  // namespace crs
