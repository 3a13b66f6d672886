#include "store/page_file.h"

namespace crs::store {

std::string_view to_string(Codec codec) {
  switch (codec) {
    case Codec::none: return "none";
    case Codec::zstd: return "zstd";
    case Codec::lz4: return "lz4";
  }
  return "unknown";
}

Result<Codec> parse_codec(std::string_view name) {
  for (const Codec codec : {Codec::none, Codec::zstd, Codec::lz4}) {
    if (to_string(codec) == name) return codec;
  }
  return Error(Errc::usage, "there is no compression named '" + std::string(name) + "'")
      .with_hint("zstd, lz4 or none");
}

}  // namespace crs::store
