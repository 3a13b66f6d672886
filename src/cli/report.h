// SPDX-License-Identifier: Apache-2.0
// Report: how results and errors are shown to people (stderr) and to tools (JSON on stdout).
//
// What this file knows
//   "crs: checkpoint 4711: <sentence>", further lines (blockers) indented, then "hint: ...". With --json the
//   same is one object on stdout: {"error": {"code", "exit", "errno", "message", "hint", "blockers"}}, and
//   nothing of it goes to stderr. A blocker is {"kind", "object", "descriptors", "path", "reason", "remedy"}.
//   Text from outside (names of commands and files) may hold control characters; on a terminal they could do
//   anything, so they are shown as \xNN.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "os/result.h"

namespace crs {

class Report {
 public:
  // `action` is what was asked for: "checkpoint 4711".
  Report(std::string action, bool json) : action_(std::move(action)), json_(json) {}

  bool json() const { return json_; }
  void set_json(bool json) { json_ = json; }
  void set_quiet(bool quiet) { quiet_ = quiet; }
  // Where JSON goes instead of standard output.
  void set_json_descriptor(int fd) { json_descriptor_ = fd; }

  // Shows the error; returns its exit status, or `status` where one is given.
  int fail(const Error& error, int status = 0) const;
  void note(std::string_view text) const;  // "crs: note: ..." on stderr
  void say(std::string_view line) const;   // a line on stderr, unless quiet or JSON
  // The JSON result. Returns 0, or 10 when stdout cannot be written.
  int answer(const nlohmann::json& value) const;
  // Text for people on stdout. Returns 0, or 10 when stdout cannot be written.
  int print(std::string_view text) const;

 private:
  static int write(int fd, std::string_view text);

  std::string action_;
  bool json_;
  bool quiet_ = false;
  int json_descriptor_ = 1;
};

// A list of objects. The descriptors and the path are taken from the object's text, "fd 3, 5 (/a/path)" or
// "file /a/path"; a path that is not there is null.
nlohmann::json json_blockers(const std::vector<Blocker>& blockers);
// Without control characters, newline excepted.
std::string printable(std::string_view text);
// For JSON: invalid UTF-8 replaced.
std::string json_text(const nlohmann::json& value);

std::string format_bytes(std::uint64_t bytes);  // "12.3 MiB"
// ", 1.0 GiB in 2 regions left out"; "" where nothing was.
std::string left_out(std::uint64_t bytes, std::uint64_t regions);
std::string format_span(std::chrono::nanoseconds span);        // "1.24 ms", "3.1 s", "2 min 5 s"
std::string format_time(std::int64_t nanoseconds_since_1970);  // local time

}  // namespace crs
