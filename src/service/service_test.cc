// SPDX-License-Identifier: Apache-2.0
#include "service/service.h"

#include <gtest/gtest.h>

#include "service/testing.h"

namespace crs {
namespace {

constexpr ComponentInfo info_made{
    .name = "made",
    .version = "1",
    .priority = 5,
    .make = [](const ParameterView&) -> std::unique_ptr<Component> { return std::make_unique<Fake>(""); }};
constexpr ComponentInfo info_other{
    .name = "other",
    .version = "1",
    .priority = 9,
    .make = [](const ParameterView&) -> std::unique_ptr<Component> { return std::make_unique<Fake>(""); }};
constexpr const ComponentInfo* table[] = {&info_made, &info_other};

TEST(Service, PriorityParameterChangesTheChoice) {
  auto service = Service::create(
      table, {.assignments = {"made.priority=10"}, .environment = nullptr, .config_files = {}});
  ASSERT_TRUE(service);
  const auto best = service->choose("", {});
  ASSERT_TRUE(best);
  EXPECT_STREQ((*best)->info->name, "made");
}

TEST(Service, SwitchedOffComponentIsAnErrorNeverSuccess) {
  auto service = Service::create(
      table, {.assignments = {"service.components=^made,other"}, .environment = nullptr, .config_files = {}});
  ASSERT_TRUE(service);
  const auto best = service->choose("", {});
  ASSERT_FALSE(best);
  EXPECT_EQ(best.error().code(), Errc::unsupported);
  store::Manifest manifest;
  manifest.component = "made";
  EXPECT_FALSE(service->maker_of(manifest));
  manifest.component = "gone";
  EXPECT_FALSE(service->maker_of(manifest));
}

TEST(Service, UnknownParameterIsAnError) {
  auto service =
      Service::create(table, {.assignments = {"made.priorty=1"}, .environment = nullptr, .config_files = {}});
  ASSERT_FALSE(service);
  EXPECT_NE(service.error().hint().find("made.priority"), std::string::npos);
}

}  // namespace
}  // namespace crs
