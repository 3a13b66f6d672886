// SPDX-License-Identifier: Apache-2.0
// Sections of the process kinds that nobody wrote: damaged or hostile ones must be refused, never believed.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "engine/kinds/credentials.pb.h"
#include "engine/kinds/hardening.pb.h"
#include "engine/kinds/itimers.pb.h"
#include "engine/kinds/limits.pb.h"
#include "engine/kinds/mapping_count.pb.h"
#include "engine/kinds/oom_score.pb.h"
#include "engine/kinds/pending_signals.pb.h"
#include "engine/kinds/posix_timers.pb.h"
#include "engine/kinds/process_attributes.pb.h"
#include "engine/kinds/scheduling.pb.h"
#include "engine/kinds/signal_actions.pb.h"
#include "engine/kinds/umask.pb.h"
#include "engine/kinds/working_directory.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

std::unique_ptr<ResourceKind> make_kind(std::string_view section) {
  for (const KindInfo* info : builtin_kinds()) {
    if (info->section == section) return info->make();
  }
  return nullptr;
}

// What load() says of a message that `change` has made; ok for the empty one where there is one.
template <class Message>
Status load(std::string_view section, const std::function<void(Message&)>& change) {
  Message message;
  change(message);
  return make_kind(section)->load(message.SerializeAsString());
}

template <class Message>
void expect_refused(std::string_view section, const std::function<void(Message&)>& change) {
  const Status status = load<Message>(section, change);
  ASSERT_FALSE(status) << section;
  EXPECT_EQ(status.error().code(), Errc::bad_snapshot) << section;
}

TEST(ProcessSections, GarbageNeverCrashes) {
  std::mt19937 random(1);
  for (const KindInfo* info : builtin_kinds()) {
    for (int round = 0; round < 2000; ++round) {
      std::string bytes(random() % 200, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random() % (round % 2 == 0 ? 256 : 32));
      const auto kind = info->make();
      if (kind->load(bytes)) (void)kind->describe();
    }
  }
}

TEST(ProcessSections, SignalsHaveNumbersThatExist) {
  for (const std::uint32_t number : {0u, 9u, 19u, 65u, 0xffffffffu}) {
    expect_refused<state::SignalActions>("signal_actions",
                                         [&](auto& actions) { actions.add_action()->set_signal(number); });
    std::string info(128, '\0');
    std::memcpy(info.data(), &number, sizeof number);
    expect_refused<state::PendingSignals>("pending_signals",
                                          [&](auto& pending) { pending.add_shared(info); });
  }
  expect_refused<state::PendingSignals>("pending_signals",
                                        [](auto& pending) { pending.add_shared("short"); });
  expect_refused<state::PendingSignals>("pending_signals", [](auto& pending) {
    pending.add_thread()->set_thread(5);
    pending.add_thread()->set_thread(5);
  });
}

TEST(ProcessSections, TimersHaveTimesAndIdsThatExist) {
  expect_refused<state::IntervalTimers>("itimers", [](auto& timers) { timers.add_timer()->set_which(3); });
  expect_refused<state::IntervalTimers>("itimers",
                                        [](auto& timers) { timers.add_timer()->set_remaining_us(-1); });
  expect_refused<state::PosixTimers>("posix_timers", [](auto& timers) { timers.add_timer()->set_id(-1); });
  expect_refused<state::PosixTimers>("posix_timers", [](auto& timers) { timers.add_timer()->set_notify(3); });
  expect_refused<state::PosixTimers>("posix_timers",
                                     [](auto& timers) { timers.add_timer()->set_signal(65); });
  expect_refused<state::PosixTimers>("posix_timers", [](auto& timers) {
    timers.add_timer()->set_id(2);
    timers.add_timer()->set_id(2);
  });
}

TEST(ProcessSections, AttributesAreWithinTheirRanges) {
  expect_refused<state::Umask>("umask", [](auto& umask) { umask.set_mask(01000); });
  expect_refused<state::MappingCount>("mapping_count",
                                      [](auto& count) { count.set_mappings(~std::uint64_t{0}); });
  expect_refused<state::OomScore>("oom_score", [](auto& score) { score.set_adjustment(1001); });
  expect_refused<state::WorkingDirectory>("working_directory",
                                          [](auto& directory) { directory.set_path("here"); });
  expect_refused<state::WorkingDirectory>(
      "working_directory", [](auto& directory) { directory.set_path(std::string("/a\0b", 4)); });
  expect_refused<state::ResourceLimits>("limits", [](auto& limits) { limits.add_limit()->set_resource(16); });
  expect_refused<state::ResourceLimits>("limits", [](auto& limits) { limits.add_limit()->set_soft(1); });
  expect_refused<state::Hardening>("hardening", [](auto& hardening) { hardening.set_mdwe(4); });
  expect_refused<state::Hardening>("hardening", [](auto& hardening) {
    auto& thread = *hardening.add_thread();
    thread.set_thread(1);
    thread.add_speculation()->set_feature(3);
  });
  expect_refused<state::ProcessAttributes>("process_attributes",
                                           [](auto& attributes) { attributes.add_thread()->set_thread(0); });
  expect_refused<state::Scheduling>("scheduling", [](auto& scheduling) {
    scheduling.add_thread()->set_thread(1);
    scheduling.mutable_thread(0)->set_cpus(std::string(2000, 'x'));
  });
}

TEST(ProcessSections, CredentialsAreComplete) {
  expect_refused<state::Credentials>("credentials", [](auto&) {});
  expect_refused<state::Credentials>("credentials", [](auto& credentials) {
    auto& thread = *credentials.add_thread();
    thread.set_thread(1);
    thread.add_uid(0);
  });
}

}  // namespace
}  // namespace crs
