// SPDX-License-Identifier: Apache-2.0
#include "cli/outline.h"

#include <algorithm>
#include <cctype>

namespace crs {

namespace {

constexpr std::size_t line_limit = 160;

std::string plain(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>().empty() ? "''" : value.get<std::string>();
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// "a 1, b x" or "1 2 3"; empty when it does not fit or is not flat.
std::string one_line(const nlohmann::json& value) {
  if (!value.is_structured()) return plain(value);
  std::string line;
  for (const auto& item : value.items()) {
    const bool flat_list =
        item.value().is_array() &&
        std::ranges::none_of(item.value(), [](const auto& inner) { return inner.is_structured(); });
    if (item.value().is_structured() && !(value.is_object() && flat_list)) return "";
    if (!line.empty()) line += value.is_object() ? ", " : " ";
    if (value.is_object()) line += item.key() + " ";
    line += flat_list ? one_line(item.value()) : plain(item.value());
    if (line.size() > line_limit) return "";
  }
  return line;
}

void add(const nlohmann::json& value, std::size_t depth, std::string& out) {
  const std::string indent(depth * 2, ' ');
  for (const auto& item : value.items()) {
    if (item.value().is_null() || (item.value().is_structured() && item.value().empty())) continue;
    const auto line = one_line(item.value());
    const std::string head = value.is_object() ? item.key() : "-";
    if (!line.empty() && depth > 0) {
      out += indent + head + " " + line + "\n";
      continue;
    }
    if (!line.empty()) {
      out += head + "\n  " + line + "\n";
      continue;
    }
    out += indent + head + "\n";
    add(item.value(), depth + 1, out);
  }
}

}  // namespace

std::string outline(const nlohmann::json& value) {
  std::string out;
  if (value.is_structured()) {
    add(value, 0, out);
  } else if (!value.is_null()) {
    out = plain(value) + "\n";
  }
  return out;
}

std::string shell_word(std::string_view word) {
  const bool safe = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("@%+=:,./-_").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (safe) return std::string(word);
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace crs
