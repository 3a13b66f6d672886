// SPDX-License-Identifier: Apache-2.0
// States: where a checkpoint or restart stands, as one machine with legal transitions and a history.
//
// What this file knows
//   The numbers are those of the interface this service offers; they never change:
//     NONE 0         nothing was ever asked, or the process has ended
//     CHECKPOINT 1   quiesce now
//     RESTART_PRE 2  in a restored process: let go of what did not survive
//     RESTART 3      take up again
//     CONTINUE 4     the same in the original
//     TERM 5         the snapshot is durable and the process ends next
//     RUNNING 6      no checkpoint in progress
//     ERROR 7        it failed; the process goes on
//     STATE_MAX 8    one more than the last
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "os/result.h"

namespace crs {

enum class State : std::uint8_t {
  none = 0,
  checkpoint = 1,
  restart_pre = 2,
  restart = 3,
  continue_ = 4,
  term = 5,
  running = 6,
  error = 7,
  state_max = 8,
};

// "CHECKPOINT"; every number has a text, one out of range "UNKNOWN".
std::string_view to_string(State state);
bool is_legal(State from, State to);

struct Transition {
  State from = State::none;
  State to = State::none;
  std::chrono::steady_clock::time_point at;
};

// Thread-safe. `on_change`, if given, is called after each transition by the thread that made it.
class StateMachine {
 public:
  explicit StateMachine(std::function<void(const Transition&)> on_change = {})
      : on_change_(std::move(on_change)) {}

  State state() const;
  // errors: bug, naming both states, when the step is not legal; the state stays.
  Status enter(State next);
  // ERROR can be entered from everywhere and never fails.
  void fail();
  std::vector<Transition> history() const;  // oldest first; the last 64

 private:
  void move_to(State next, std::unique_lock<std::mutex>& lock);
  mutable std::mutex mutex_;
  State state_ = State::none;
  std::vector<Transition> history_;
  std::function<void(const Transition&)> on_change_;
};

}  // namespace crs
