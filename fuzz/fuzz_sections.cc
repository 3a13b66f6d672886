// SPDX-License-Identifier: Apache-2.0
// The reader of state.pb: any bytes are sections or an error, and accepted ones are written back the same.
#include <cstdlib>

#include "store/section_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto sections = crs::store::parse_sections(bytes, "fuzz");
  if (sections && crs::store::sections_text(*sections) != bytes) std::abort();

  // Checksums hide what is behind them from a fuzzer, so it also gets them right.
  const auto whole =
      crs::store::sections_text({{"name", std::string(bytes)}, {std::string(bytes.substr(0, 64)), ""}});
  (void)crs::store::parse_sections(whole, "sealed");
  return 0;
}
