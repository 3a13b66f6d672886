// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "os/file_io.h"

namespace crs {

namespace {
constexpr std::chrono::milliseconds quiet_at_first{500};
constexpr std::chrono::milliseconds between_draws{100};
constexpr std::size_t bar_width = 24;
}  // namespace

std::string progress_line(std::uint64_t done, std::uint64_t total, std::chrono::nanoseconds elapsed) {
  const double part =
      total == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const auto full = static_cast<std::size_t>(part * static_cast<double>(bar_width));
  std::string bar(full, '=');
  if (full < bar_width) bar += '>';
  bar.resize(bar_width, ' ');
  std::string line =
      fmt::format("[{}] {:3.0f}%  {} of {}", bar, part * 100, format_bytes(done), format_bytes(total));
  const double seconds = std::chrono::duration<double>(elapsed).count();
  if (seconds > 0.05 && done > 0) {
    const double rate = static_cast<double>(done) / seconds;
    line += fmt::format("  {}/s", format_bytes(static_cast<std::uint64_t>(rate)));
    if (total > done) {
      const double left = static_cast<double>(total - done) / rate;
      line += fmt::format("  {} left",
                          format_span(std::chrono::nanoseconds(static_cast<std::int64_t>(left * 1e9))));
    }
  }
  return line;
}

Progress::Progress(const Report& report, bool quiet)
    : report_(report), enabled_(!quiet && !report.json() && isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  erase();
}

void Progress::phase(std::string_view name) {
  phase_ = std::string(name);
  phase_started_ = Clock::now();
}

void Progress::progress(std::uint64_t done, std::uint64_t total) {
  if (!enabled_) return;
  const auto now = Clock::now();
  if (now - started_ < quiet_at_first || now - drawn_ < between_draws) return;
  drawn_ = now;
  shown_ = true;
  const auto line = "\r\033[K" + progress_line(done, total, now - phase_started_);
  (void)write_all(STDERR_FILENO, line, "standard error");  // a terminal that is gone wants no progress
}

void Progress::note(std::string_view text) {
  notes_.emplace_back(text);
}

void Progress::delayed(std::string_view text) {
  if (report_.json()) return note(text);
  erase();
  report_.note(text);
}

void Progress::tell(std::string_view line) {
  erase();
  report_.say("crs: " + std::string(line));
}

void Progress::erase() {
  if (!shown_) return;
  shown_ = false;
  (void)write_all(STDERR_FILENO, std::string_view("\r\033[K"), "standard error");
}

std::vector<std::string> Progress::finish() {
  erase();
  if (!report_.json()) {
    for (const auto& text : notes_) report_.note(text);
  }
  return std::move(notes_);
}

}  // namespace crs
