// SPDX-License-Identifier: Apache-2.0
// The manifest's reader: any text is a manifest or an error, and what was read can be written and read again.
#include <cstdlib>

#include "store/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto manifest = crs::store::Manifest::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!manifest) return 0;
  const auto again = crs::store::Manifest::parse(manifest->to_json_text(), "again");
  if (!again || again->to_json_text() != manifest->to_json_text()) std::abort();
  return 0;
}
