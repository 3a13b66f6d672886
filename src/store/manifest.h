// Manifest: what a snapshot says of itself, in JSON for people and tools.
//
// What this file knows
//   The keys of manifest.json, which are required, and that unknown keys survive a read and write.
//   format_version grows when an older reader could no longer read; a newer one is refused by name.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "os/result.h"

namespace crs::store {

inline constexpr std::uint32_t format_version = 2;          // the newest
inline constexpr std::uint32_t format_with_rebuilding = 2;  // the program must rebuild memory before it runs

struct ManifestFile {
  std::string name;         // plain name inside the snapshot's directory
  std::uint64_t bytes = 0;  // its length
  std::string checksum;  // XXH3-128 in hexadecimal of the whole file; for page files of footer and index only
};

// The clocks that count from the start of the system, at the moment of the freeze, nanoseconds.
struct ManifestClocks {
  std::int64_t monotonic_ns = 0, boottime_ns = 0;                // as the process saw them
  std::int64_t monotonic_offset_ns = 0, boottime_offset_ns = 0;  // of its time namespace
};

struct Manifest {
  std::uint32_t version = 1;  // the oldest that can tell what is in it
  std::string component;      // "native", "none", ...
  std::string crs_version;
  std::string job;
  std::uint64_t generation = 0;  // 0: not in a store's job (-o DIR)
  std::int64_t created_ns = 0;   // CLOCK_REALTIME at the moment of the freeze, nanoseconds
  std::string host;
  std::string architecture;              // "x86_64"
  std::string kernel;                    // uname -r, for people only
  std::string boot_id;                   // /proc/sys/kernel/random/boot_id
  std::optional<ManifestClocks> clocks;  // the key may be missing
  std::int64_t pid = 0;                  // as the process itself sees it
  std::string command;                   // comm
  std::string executable;
  std::vector<std::string> arguments;
  std::uint32_t uid = 0;
  std::uint64_t threads = 0;
  std::uint64_t memory_bytes = 0;    // raw bytes of pages saved
  std::uint64_t left_out_bytes = 0;  // of memory that was not to be saved; the key may be missing
  std::uint64_t stop_ns = 0;         // how long the process stood still
  std::vector<ManifestFile> files;
  nlohmann::json component_data = nlohmann::json::object();  // a component's own, under its name
  nlohmann::json unknown = nlohmann::json::object();         // keys this version does not know

  std::string to_json_text() const;  // pretty, ends in newline
  // errors: bad_snapshot (not JSON, missing or mistyped key, newer version, other architecture is the
  // caller's)
  static Result<Manifest> parse(std::string_view text, std::string_view where);
};

}  // namespace crs::store
