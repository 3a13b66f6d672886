// SPDX-License-Identifier: Apache-2.0
#include "service/states.h"

#include <string>

namespace crs {

namespace {
constexpr std::size_t history_limit = 64;
}

std::string_view to_string(State state) {
  switch (state) {
    case State::none: return "NONE";
    case State::checkpoint: return "CHECKPOINT";
    case State::restart_pre: return "RESTART_PRE";
    case State::restart: return "RESTART";
    case State::continue_: return "CONTINUE";
    case State::term: return "TERM";
    case State::running: return "RUNNING";
    case State::error: return "ERROR";
    case State::state_max: return "STATE_MAX";
  }
  return "UNKNOWN";
}

bool is_legal(State from, State to) {
  if (to == State::error) return from < State::state_max;
  switch (from) {
    case State::none: return to == State::running || to == State::checkpoint || to == State::restart;
    case State::running:
      return to == State::checkpoint || to == State::restart || to == State::restart_pre || to == State::none;
    // To RUNNING without CONTINUE: the hooks were only prepared, and the session was handed back to its
    // owner.
    case State::checkpoint:
      return to == State::continue_ || to == State::term || to == State::restart_pre || to == State::running;
    case State::restart_pre: return to == State::restart;
    case State::restart:
    case State::continue_: return to == State::running;
    case State::term: return to == State::none;
    case State::error: return to == State::running || to == State::none;
    case State::state_max: return false;
  }
  return false;
}

State StateMachine::state() const {
  const std::scoped_lock lock(mutex_);
  return state_;
}

void StateMachine::move_to(State next, std::unique_lock<std::mutex>& lock) {
  const Transition transition{state_, next, std::chrono::steady_clock::now()};
  state_ = next;
  if (history_.size() == history_limit) history_.erase(history_.begin());
  history_.push_back(transition);
  lock.unlock();  // on_change may ask for the state
  if (on_change_) on_change_(transition);
}

Status StateMachine::enter(State next) {
  std::unique_lock lock(mutex_);
  if (!is_legal(state_, next)) {
    return Error(Errc::bug, "no step leads from state " + std::string(to_string(state_)) + " to " +
                                std::string(to_string(next)));
  }
  move_to(next, lock);
  return ok();
}

void StateMachine::fail() {
  std::unique_lock lock(mutex_);
  move_to(State::error, lock);
}

std::vector<Transition> StateMachine::history() const {
  const std::scoped_lock lock(mutex_);
  return history_;
}

}  // namespace crs
