// SPDX-License-Identifier: Apache-2.0
// Errors across a process border: a forked part of us tells its parent what went wrong.
#pragma once

#include <string>
#include <vector>

#include "os/result.h"

namespace crs {

// What a forked part of the restart has to say, as one message: an error or success, and notes.
struct PartReport {
  std::optional<Error> error;
  std::vector<std::string> notes;
  pid_t ns_pid = 0;

  std::string to_text() const;
  static Result<PartReport> parse(const std::string& text);
};

}  // namespace crs
