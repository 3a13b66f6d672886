// SPDX-License-Identifier: Apache-2.0
// Parameters: named, typed settings of the service and of each component.
//
// What this file knows
//   A parameter's full name is OWNER.NAME ("native.workers"); the owner is "service" or a component. A value
//   comes from, in this order: the command line (--param OWNER.NAME=VALUE), the environment
//   (CRS_<OWNER>_<NAME>, upper case, '-' as
//   '_'), a config file ($XDG_CONFIG_HOME/crs/config, else ~/.config/crs/config, then /etc/crs/config; lines
//   "owner.name = value", '#' starts a comment line), the default.
//   A name that nobody declared is an error that suggests the nearest one, wherever it was set. In the
//   environment every variable CRS_WORD_WORD is taken for a parameter, so that a misspelled owner is found as
//   well, but for CRS_TEST_* and CRS_BENCH_*, which belong to the tests and the benchmarks. CRS_WORD is none
//   (CRS_STORE); it is an error only where it looks like one of ours misspelled.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/nearest_name.h"
#include "os/result.h"

namespace crs {

enum class ParameterType : std::uint8_t { boolean, integer, text };
std::string_view to_string(ParameterType type);

struct ParameterInfo {
  const char* name = "";  // without the owner: lower case letters, digits, '-' or '_'
  ParameterType type = ParameterType::text;
  const char* default_value = "";
  const char* help = "";
  std::int64_t minimum = INT64_MIN;  // integers only
  std::int64_t maximum = INT64_MAX;
};

enum class ParameterSource : std::uint8_t { built_in, config_file, environment, command_line };
std::string_view to_string(ParameterSource source);

struct Parameter {
  std::string owner;
  ParameterInfo info;  // info.default_value is not used: the next one owns its text
  std::string default_value;
  std::string value;
  ParameterSource source = ParameterSource::built_in;
  std::string origin;  // the file and line, or the variable

  std::string full_name() const { return owner + "." + info.name; }
};

class Parameters;

// What one owner may see: its own parameters, by short name. Borrows from Parameters.
class ParameterView {
 public:
  ParameterView(const Parameters& all, std::string owner) : all_(&all), owner_(std::move(owner)) {}
  bool boolean(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  const std::string& text(std::string_view name) const;

 private:
  const Parameter& get(std::string_view name) const;
  const Parameters* all_;
  std::string owner_;
};

class Parameters {
 public:
  // For a look at a few parameters before the others are known: names that nobody declared are passed over.
  void pass_over_unknown() { passes_over_unknown_ = true; }
  void declare(const std::string& owner, std::span<const ParameterInfo> infos);

  // "owner.name=value" from the command line. errors: usage.
  Status set_from_command_line(std::string_view assignment);
  // Every variable of an environ(7)-style array. errors: usage.
  Status load_environment(const char* const* environment);
  // A config file's text. Of two files, load the more general one first. errors: usage, with file and line.
  Status load_config(std::string_view text, const std::string& file);

  const std::vector<Parameter>& list() const { return list_; }
  const Parameter* find(std::string_view full_name) const;
  ParameterView view(const std::string& owner) const { return {*this, owner}; }

  // The declared name with the smallest edit distance, if it is near enough to be meant.
  std::optional<std::string> nearest(std::string_view name) const;

 private:
  Status assign(std::string_view full_name, std::string_view value, ParameterSource source,
                std::string origin);
  std::vector<Parameter> list_;
  bool passes_over_unknown_ = false;
};

// The values that a boolean may have: 1/0, true/false, yes/no, on/off.
std::optional<bool> parse_boolean(std::string_view text);
std::optional<std::int64_t> parse_integer(std::string_view text);

}  // namespace crs
