// SPDX-License-Identifier: Apache-2.0
// Event lines: what a checkpoint is at, as one JSON object a line, for a program that asked for it (--events
// FD).
//
// What this file knows
//   Nobody who does not read makes crs wait: a line that does not fit into the pipe just then is dropped and
//   counted, and the last line tells how many were. No line is longer than PIPE_BUF, so that none comes in
//   pieces; long texts are cut. A reader that is gone harms nothing.
//
// Kernel interfaces: pipe(7), poll(2).
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "os/owned_fd.h"
#include "os/result.h"
#include "service/component.h"

namespace crs {

// Passes all on to another observer. Not thread-safe.
class EventLines : public Observer {
 public:
  // Takes the descriptor; -1: nobody asked. errors: usage (it is not open for writing).
  static Result<EventLines> open(int fd, Observer& next);
  EventLines(EventLines&&) = default;

  void phase(std::string_view name) override;
  void progress(std::uint64_t done, std::uint64_t total) override;
  void note(std::string_view text) override;
  void delayed(std::string_view text) override;
  void tell(std::string_view line) override { next_->tell(line); }

  // The last line; null: all went well.
  void end(const Error* error);

 private:
  EventLines(OwnedFd fd, Observer& next) : fd_(std::move(fd)), next_(&next) {}
  void write(nlohmann::json event);
  using Clock = std::chrono::steady_clock;
  OwnedFd fd_;
  Observer* next_;
  Clock::time_point told_{};  // when progress was told the last time
  std::uint64_t dropped_ = 0;
};

// Of a text, what takes no more than `bytes` in a JSON string; cut at a character.
std::string cut_for_json(std::string_view text, std::size_t bytes);

}  // namespace crs
