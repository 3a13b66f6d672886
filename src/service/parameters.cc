// SPDX-License-Identifier: Apache-2.0
#include "service/parameters.h"

#include <algorithm>
#include <cassert>
#include <cctype>
#include <charconv>

namespace crs {

std::string_view to_string(ParameterType type) {
  switch (type) {
    case ParameterType::boolean: return "boolean";
    case ParameterType::integer: return "integer";
    case ParameterType::text: return "text";
  }
  return "unknown";
}

std::string_view to_string(ParameterSource source) {
  switch (source) {
    case ParameterSource::built_in: return "default";
    case ParameterSource::config_file: return "config file";
    case ParameterSource::environment: return "environment";
    case ParameterSource::command_line: return "command line";
  }
  return "unknown";
}

std::optional<bool> parse_boolean(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* word : {"1", "true", "yes", "on"}) {
    if (lower == word) return true;
  }
  for (const char* word : {"0", "false", "no", "off"}) {
    if (lower == word) return false;
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

constexpr std::string_view variable_prefix = "CRS_";
constexpr std::string_view store_variable = "CRS_STORE";  // no parameter: Store::default_path() reads it

bool is_reserved(std::string_view variable) {
  return variable.starts_with("CRS_TEST_") || variable.starts_with("CRS_BENCH_");
}

// "native.max-workers" as CRS_NATIVE_MAX_WORKERS.
std::string variable_name(std::string_view full_name) {
  std::string name(variable_prefix);
  for (const char c : full_name) {
    name += c == '.' || c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

Status check_value(const Parameter& parameter, std::string_view value, const std::string& origin) {
  auto wrong = [&](const std::string& wanted) {
    return Error(Errc::usage, origin + ": parameter " + parameter.full_name() + " wants " + wanted +
                                  ", not '" + std::string(value) + "'");
  };
  switch (parameter.info.type) {
    case ParameterType::boolean:
      if (!parse_boolean(value)) return wrong("yes or no");
      break;
    case ParameterType::integer: {
      const auto number = parse_integer(value);
      if (!number) return wrong("a whole number");
      if (*number < parameter.info.minimum || *number > parameter.info.maximum) {
        return wrong("a number from " + std::to_string(parameter.info.minimum) + " to " +
                     std::to_string(parameter.info.maximum));
      }
      break;
    }
    case ParameterType::text: break;
  }
  return ok();
}

}  // namespace

void Parameters::declare(const std::string& owner, std::span<const ParameterInfo> infos) {
  for (const ParameterInfo& info : infos) {
    Parameter parameter{.owner = owner,
                        .info = info,
                        .default_value = info.default_value,
                        .value = info.default_value,
                        .source = ParameterSource::built_in,
                        .origin = ""};
    parameter.info.default_value = "";
    list_.push_back(std::move(parameter));
  }
}

const Parameter* Parameters::find(std::string_view full_name) const {
  for (const auto& parameter : list_) {
    if (parameter.full_name() == full_name) return &parameter;
  }
  return nullptr;
}

std::optional<std::string> Parameters::nearest(std::string_view name) const {
  std::vector<std::string> names;
  for (const auto& parameter : list_) names.push_back(parameter.full_name());
  return nearest_name(name, names);
}

Status Parameters::assign(std::string_view full_name, std::string_view value, ParameterSource source,
                          std::string origin) {
  for (auto& parameter : list_) {
    if (parameter.full_name() != full_name) continue;
    CRS_CHECK(check_value(parameter, value, origin));
    if (source >=
        parameter.source) {  // the order of the enum is the order of precedence; later wins among equals
      parameter.value = std::string(value);
      parameter.source = source;
      parameter.origin = std::move(origin);
    }
    return ok();
  }
  if (passes_over_unknown_) return ok();
  Error error(Errc::usage, origin + ": there is no parameter '" + std::string(full_name) + "'");
  if (const auto near = nearest(full_name)) {
    error.set_hint("did you mean " + *near + "? `crs params` lists all");
  } else {
    error.set_hint("`crs params` lists all");
  }
  return error;
}

Status Parameters::set_from_command_line(std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    return Error(Errc::usage, "--param wants OWNER.NAME=VALUE, not '" + std::string(assignment) + "'");
  }
  return assign(assignment.substr(0, equals), assignment.substr(equals + 1), ParameterSource::command_line,
                "command line");
}

Status Parameters::load_environment(const char* const* environment) {
  std::vector<std::string> variables;
  for (const auto& parameter : list_) variables.push_back(variable_name(parameter.full_name()));
  std::vector<std::string> known = variables;
  known.emplace_back(store_variable);
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry(*environment);
    const auto equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = entry.substr(0, equals);
    if (!name.starts_with(variable_prefix) || name == store_variable || is_reserved(name)) continue;
    const auto found = std::ranges::find(variables, name);
    if (found == variables.end()) {
      if (passes_over_unknown_) continue;
      const auto near = nearest_name(name, known);
      const bool has_owner = name.find('_', variable_prefix.size()) != std::string_view::npos;
      if (!has_owner && !near) continue;  // somebody else's
      Error error(Errc::usage,
                  "the environment sets " + std::string(name) + ", but there is no such parameter");
      error.set_hint((near ? "did you mean " + *near + "? " : "") + "`crs params` lists all");
      return error;
    }
    const auto& parameter = list_[static_cast<std::size_t>(found - variables.begin())];
    CRS_CHECK(assign(parameter.full_name(), entry.substr(equals + 1), ParameterSource::environment,
                     "environment variable " + std::string(name)));
  }
  return ok();
}

Status Parameters::load_config(std::string_view text, const std::string& file) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::string origin = file + ":" + std::to_string(number);
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) {
      return Error(Errc::usage, origin + ": a line is 'owner.name = value', not '" + std::string(line) + "'");
    }
    CRS_CHECK(assign(trim(line.substr(0, equals)), trim(line.substr(equals + 1)),
                     ParameterSource::config_file, origin));
  }
  return ok();
}

const Parameter& ParameterView::get(std::string_view name) const {
  const Parameter* parameter = all_->find(owner_ + "." + std::string(name));
  assert(parameter != nullptr);  // a component reads only what it declared
  return *parameter;
}
bool ParameterView::boolean(std::string_view name) const {
  return parse_boolean(get(name).value).value_or(false);
}
std::int64_t ParameterView::integer(std::string_view name) const {
  return parse_integer(get(name).value).value_or(0);
}
const std::string& ParameterView::text(std::string_view name) const {
  return get(name).value;
}

}  // namespace crs
