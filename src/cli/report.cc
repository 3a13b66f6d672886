// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
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

namespace {

// "fd 3, 5 (...)" or "fd 3, fd 5 (...)": 3 and 5.
std::vector<int> descriptors_in(std::string_view object) {
  std::vector<int> descriptors;
  while (object.starts_with("fd ")) {
    object.remove_prefix(3);
    for (;;) {
      int number = 0;
      const auto [end, problem] = std::from_chars(object.data(), object.data() + object.size(), number);
      if (problem != std::errc()) return descriptors;
      descriptors.push_back(number);
      object.remove_prefix(static_cast<std::size_t>(end - object.data()));
      if (!object.starts_with(", ")) return descriptors;
      object.remove_prefix(2);
      if (object.starts_with("fd ")) break;
    }
  }
  return descriptors;
}

// What is in the parentheses at the end; else from the first '/' that begins a word.
nlohmann::json path_in(std::string_view object) {
  const bool is_descriptor = object.starts_with("fd ");
  if (const auto open = object.find(" ("); open != std::string_view::npos && object.ends_with(')')) {
    const auto inside = object.substr(open + 2, object.size() - open - 3);
    if (is_descriptor || inside.starts_with('/')) return std::string(inside);
  }
  if (is_descriptor) return nullptr;
  const auto slash = object.starts_with('/') ? 0 : object.find(" /");
  if (slash == std::string_view::npos) return nullptr;
  return std::string(object.substr(slash == 0 ? 0 : slash + 1));
}

}  // namespace

nlohmann::json json_blockers(const std::vector<Blocker>& blockers) {
  nlohmann::json list = nlohmann::json::array();
  for (const Blocker& blocker : blockers) {
    list.push_back({{"kind", blocker.kind},
                    {"object", blocker.object},
                    {"descriptors", descriptors_in(blocker.object)},
                    {"path", path_in(blocker.object)},
                    {"reason", blocker.reason},
                    {"remedy", blocker.remedy}});
  }
  return list;
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
    std::vector<Blocker> blockers = error.blockers();
    // A refusal as a whole, before anything was looked at one by one.
    if (blockers.empty() && exit_code(error.code()) == exit_code(Errc::refused)) {
      blockers.push_back({"process", action_, message, error.hint()});
    }
    // From 128 on a signal ended it, which the codes do not know.
    value["error"] = {{"code", status >= 128 ? "interrupted" : std::string(to_string(error.code()))},
                      {"exit", status},
                      {"errno", error.error_number()},
                      {"message", action + message},
                      {"hint", error.hint()},
                      {"blockers", json_blockers(blockers)}};
    (void)write_all(json_descriptor_, json_text(value),
                    "standard output");  // the exit status tells it anyway
    return status;
  }
  std::string text = "crs: " + action + indented_after_first_line(printable(message)) + "\n";
  if (!error.hint().empty()) text += "hint: " + printable(error.hint()) + "\n";
  to_stderr(text);
  return status;
}

void Report::note(std::string_view text) const {
  to_stderr("crs: note: " + indented_after_first_line(printable(text)) + "\n");
}

void Report::say(std::string_view line) const {
  if (!quiet_ && !json_) to_stderr(printable(line) + "\n");
}

int Report::answer(const nlohmann::json& value) const {
  return write(json_descriptor_, json_text(value));
}

int Report::print(std::string_view text) const {
  return write(STDOUT_FILENO, text);
}

int Report::write(int fd, std::string_view text) {
  if (auto written = write_all(fd, text, "standard output"); !written) {
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

std::string left_out(std::uint64_t bytes, std::uint64_t regions) {
  if (bytes == 0) return "";
  return fmt::format(", {} in {} region{} left out", format_bytes(bytes), regions, regions == 1 ? "" : "s");
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
