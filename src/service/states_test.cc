// SPDX-License-Identifier: Apache-2.0
#include "service/states.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "service/outcome.h"

namespace crs {
namespace {

TEST(States, NumbersAreThoseOfTheInterface) {
  EXPECT_EQ(static_cast<int>(State::none), 0);
  EXPECT_EQ(static_cast<int>(State::checkpoint), 1);
  EXPECT_EQ(static_cast<int>(State::restart_pre), 2);
  EXPECT_EQ(static_cast<int>(State::restart), 3);
  EXPECT_EQ(static_cast<int>(State::continue_), 4);
  EXPECT_EQ(static_cast<int>(State::term), 5);
  EXPECT_EQ(static_cast<int>(State::running), 6);
  EXPECT_EQ(static_cast<int>(State::error), 7);
  EXPECT_EQ(static_cast<int>(State::state_max), 8);
}

TEST(States, EveryNumberHasATextOfItsOwn) {
  std::set<std::string> texts;
  for (int number = 0; number <= 9; ++number)
    texts.insert(std::string(to_string(static_cast<State>(number))));
  EXPECT_EQ(texts.size(), 10u);
}

TEST(States, OrdinaryCheckpointAndItsHistory) {
  StateMachine machine;
  ASSERT_TRUE(machine.enter(State::checkpoint));
  ASSERT_TRUE(machine.enter(State::continue_));
  ASSERT_TRUE(machine.enter(State::running));
  const auto history = machine.history();
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0].from, State::none);
  EXPECT_EQ(history[2].to, State::running);
  EXPECT_LE(history[0].at, history[2].at);
}

TEST(States, IllegalStepIsAnErrorAndChangesNothing) {
  StateMachine machine;
  ASSERT_TRUE(machine.enter(State::checkpoint));
  const auto status = machine.enter(State::restart);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::bug);
  EXPECT_EQ(machine.state(), State::checkpoint);
  EXPECT_EQ(machine.history().size(), 1u);
}

TEST(States, RestoredProcessNeverSeesContinueBeforeRunning) {
  EXPECT_FALSE(is_legal(State::restart_pre, State::continue_));
  EXPECT_FALSE(is_legal(State::restart, State::continue_));
  EXPECT_FALSE(is_legal(State::term, State::continue_));
}

TEST(States, ErrorCanBeReachedFromEverywhereAndIsLeftToRunning) {
  for (int number = 0; number < 8; ++number) {
    EXPECT_TRUE(is_legal(static_cast<State>(number), State::error)) << number;
    EXPECT_FALSE(is_legal(static_cast<State>(number), State::state_max)) << number;
  }
  StateMachine machine;
  machine.fail();
  EXPECT_EQ(machine.state(), State::error);
  EXPECT_TRUE(machine.enter(State::running));
}

TEST(States, ChangeIsToldAndMayAskForTheState) {
  StateMachine* self = nullptr;
  State seen = State::none;
  StateMachine machine([&](const Transition&) { seen = self->state(); });
  self = &machine;
  ASSERT_TRUE(machine.enter(State::running));
  EXPECT_EQ(seen, State::running);
}

TEST(Outcome, PairCannotDisagree) {
  EXPECT_EQ(status_pair(Continued{}).code, 0);
  EXPECT_EQ(status_pair(Continued{}).state, State::continue_);
  EXPECT_EQ(status_pair(Continued{{}, AfterCheckpoint::terminate}).state, State::term);
  EXPECT_EQ(status_pair(Restarted{}).code, 0);
  EXPECT_EQ(status_pair(Restarted{}).state, State::restart);
  for (const auto code :
       {Errc::usage, Errc::not_found, Errc::permission, Errc::refused, Errc::busy, Errc::timeout,
        Errc::bad_snapshot, Errc::storage, Errc::target_gone, Errc::kernel, Errc::unsupported, Errc::bug}) {
    const auto pair = status_pair(Error(code, "x"));
    EXPECT_LT(pair.code, 0);
    EXPECT_EQ(pair.state, State::error);
  }
}

}  // namespace
}  // namespace crs
