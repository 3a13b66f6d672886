// SPDX-License-Identifier: Apache-2.0
// The readers of /proc: what a program can put there (names of files, of threads) must not lead them astray.
#include "os/proc.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto maps = crs::parse_maps(text)) {
    for (const auto& vma : *maps) (void)vma.protection();
  }
  (void)crs::parse_stat(text);
  const auto fields = crs::ProcFields::parse(text);
  (void)fields.number("Pid");
  (void)fields.numbers("Uid", 16);
  (void)fields.signed_number("pos");
  return 0;
}
