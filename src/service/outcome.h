// SPDX-License-Identifier: Apache-2.0
// Outcome: the one value that says what a checkpoint or restart came to.
//
// What this file knows
//   An operation ends in exactly one of: continued (the original goes on, or ends as asked, after its
//   checkpoint), restarted, error. The pair (return code, state) of the C interface is derived from it by
//   status_pair() and by nothing else, so the two cannot disagree: an error always has state ERROR and a code
//   below 0.
#pragma once

#include <utility>
#include <variant>

#include "os/result.h"
#include "service/component.h"
#include "service/states.h"

namespace crs {

struct Continued {
  SavedProcess saved;
  AfterCheckpoint after = AfterCheckpoint::run;
};

struct Restarted {
  RestartInfo info;
};

class [[nodiscard]] Outcome {
 public:
  Outcome(Continued continued) : value_(std::move(continued)) {}  // NOLINT: implicit by design
  Outcome(Restarted restarted) : value_(std::move(restarted)) {}  // NOLINT: implicit by design
  Outcome(Error error) : value_(std::move(error)) {}              // NOLINT: implicit by design

  const Continued* continued() const { return std::get_if<Continued>(&value_); }
  const Restarted* restarted() const { return std::get_if<Restarted>(&value_); }
  Restarted* restarted() { return std::get_if<Restarted>(&value_); }
  const Error* error() const { return std::get_if<Error>(&value_); }

 private:
  std::variant<Continued, Restarted, Error> value_;
};

struct StatusPair {
  int code = 0;  // 0, or minus the documented exit code of the error
  State state = State::none;
};

inline StatusPair status_pair(const Outcome& outcome) {
  if (const auto* error = outcome.error()) return {-exit_code(error->code()), State::error};
  if (outcome.restarted() != nullptr) return {0, State::restart};
  return {0, outcome.continued()->after == AfterCheckpoint::terminate ? State::term : State::continue_};
}

}  // namespace crs
