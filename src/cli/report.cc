// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "os/file_io.h"

namespace crs {

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string json_text(const nlohmann::json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

namespace {

// Nobody is left to tell when stderr fails.
void to_stderr(std::string_view text) {
  (void)write_all(STDERR_FILENO, text, "standard error");
}

std::string indented_after_first_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "  ";
  }
  return out;
}

}  // namespace

int Report::fail(const Error& error, int status) const {
  if (status == 0) status = exit_code(error.code());
  std::string message = error.to_string();
  while (message.ends_with('\n')) message.pop_back();
  // Layers below may have said already what was asked for.
  const std::string action = action_.empty() || message.starts_with(action_ + ": ") ? "" : action_ + ": ";
  if (json_) {
    nlohmann::json value;
    // From 128 on a signal ended it, which the codes do not know.
    value["error"] = {{"code", status >= 128 ? "interrupted" : std::string(to_string(error.code()))},
                      {"exit", status},
                      {"errno", error.error_number()},
                      {"message", action + message},
                      {"hint", error.hint()}};
    (void)write_all(STDOUT_FILENO, json_text(value), "standard output");  // the exit status tells it anyway
    return status;
  }
  std::string text = "crs: " + action + indented_after_first_line(printable(message)) + "\n";
  if (!error.hint().empty()) text += "hint: " + printable(error.hint()) + "\n";
  to_stderr(text);
  return status;
}

void Report::note(std::string_view text) const {
  to_stderr("crs: note: " + printable(text) + "\n");
}

void Report::say(std::string_view line) const {
  if (!quiet_ && !json_) to_stderr(printable(line) + "\n");
}

int Report::answer(const nlohmann::json& value) const {
  return print(json_text(value));
}

int Report::print(std::string_view text) const {
  if (auto written = write_all(STDOUT_FILENO, text, "standard output"); !written) {
    to_stderr("crs: " + written.error().to_string() + "\n");
    return 10;
  }
  return 0;
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return fmt::format("{:.{}f} {}", value, value < 10 ? 1 : 0, unit);
}

std::string format_span(std::chrono::nanoseconds span) {
  const double seconds = std::chrono::duration<double>(span).count();
  if (seconds < 0.001) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 0.1) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds < 1) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::uint64_t>(seconds);
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string format_time(std::int64_t nanoseconds_since_1970) {
  const std::time_t seconds = nanoseconds_since_1970 / 1'000'000'000;
  std::tm local{};
  if (localtime_r(&seconds, &local) == nullptr) return "?";
  char text[32];
  const std::size_t length = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return std::string(text, length);
}

}  // namespace crs
