// SPDX-License-Identifier: Apache-2.0
// Self table: what a program saves by itself, as its libcrs and `crs` tell each other.
//
// What this file knows
//   One encoding for two ways. On a checkpoint it lies in the memory of the program, which publishes address
//   and length in the control page; `where` of a part is an address there. On a restart it opens a sealed
//   memory file that the program inherits; `where` is an offset in that file. Numbers are 8 bytes, little
//   endian, texts follow their length. Whoever decodes believes nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "os/result.h"

namespace crs {

inline constexpr char self_component[] = "self";
inline constexpr char self_state_variable[] = "CRS_SELF_STATE";        // number of the memory file
inline constexpr char self_snapshot_variable[] = "CRS_SELF_SNAPSHOT";  // the snapshot's directory
inline constexpr std::uint64_t max_self_table = 64u << 20;             // bytes

struct SelfPart {
  enum class Kind : std::uint64_t { region = 1, section = 2 };
  Kind kind = Kind::region;
  std::string name;
  std::uint64_t where = 0;
  std::uint64_t bytes = 0;
};

struct SelfTable {
  std::string prefix;                    // of the callbacks that are found by their names
  std::string snapshot;                  // on a restart: its directory
  std::uint64_t restarts = 0;            // how often it was brought back
  bool has_command = false;              // else as it was started
  std::vector<std::string> arguments;    // never none where has_command
  std::string directory;                 // "": its own
  bool has_environment = false;          // else its own
  std::vector<std::string> environment;  // NAME=VALUE
  std::vector<SelfPart> parts;
};

std::string encode(const SelfTable& table);
// What follows behind it in `bytes` is passed over. errors: bad_snapshot.
Result<SelfTable> decode_self_table(std::string_view bytes);

}  // namespace crs
