// SPDX-License-Identifier: Apache-2.0
// What each kind makes of a section that somebody else wrote: the first byte chooses the kind, the rest is
// the section.
#include "engine/resource_kind.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto kinds = crs::builtin_kinds();
  const auto kind = kinds[data[0] % kinds.size()]->make();
  if (!kind->load({reinterpret_cast<const char*>(data) + 1, size - 1})) return 0;
  (void)kind->describe().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  (void)kind->save();
  return 0;
}
