// SPDX-License-Identifier: Apache-2.0
#include "service/selection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "service/testing.h"

namespace crs {
namespace {

constexpr ComponentInfo info_a{.name = "a", .version = "1", .priority = 10};
constexpr ComponentInfo info_b{.name = "b", .version = "1", .priority = 10};
constexpr ComponentInfo info_high{.name = "high", .version = "1", .priority = 90};

LoadedComponent loaded(const ComponentInfo& info, const std::string& why_not = "") {
  return {.info = &info, .priority = info.priority, .component = std::make_unique<Fake>(why_not)};
}

std::string chosen(const std::vector<LoadedComponent>& components, std::string_view filter) {
  const auto parsed = ComponentFilter::parse(filter, components);
  if (!parsed) return "error: " + parsed.error().to_string();
  const auto selection = select(components, *parsed, {});
  return selection.chosen == nullptr ? "nobody" : selection.chosen->info->name;
}

TEST(Selection, HighestPriorityThatCanServeAndTiesByNameInWhateverOrder) {
  std::vector<LoadedComponent> components;
  components.push_back(loaded(info_b));
  components.push_back(loaded(info_high, "no kernel support"));
  components.push_back(loaded(info_a));
  std::mt19937 random(7);
  for (int i = 0; i < 10; ++i) {
    std::ranges::shuffle(components, random);
    EXPECT_EQ(chosen(components, ""), "a");
  }
  components.push_back(loaded(info_high));
  EXPECT_EQ(chosen(components, ""), "high");
}

TEST(Selection, FilterIncludesOrExcludes) {
  std::vector<LoadedComponent> components;
  components.push_back(loaded(info_a));
  components.push_back(loaded(info_b));
  components.push_back(loaded(info_high));
  EXPECT_EQ(chosen(components, "b"), "b");
  EXPECT_EQ(chosen(components, "b,a"), "a");
  EXPECT_EQ(chosen(components, "^high"), "a");
  EXPECT_EQ(chosen(components, "^high,a,b"), "nobody");
}

TEST(Selection, UnknownNameInTheFilterIsAnError) {
  std::vector<LoadedComponent> components;
  components.push_back(loaded(info_high));
  EXPECT_EQ(chosen(components, "hihg").substr(0, 6), "error:");
  EXPECT_EQ(chosen(components, "^hihg").substr(0, 6), "error:");
  EXPECT_EQ(chosen(components, "^").substr(0, 6), "error:");
}

TEST(Selection, EveryCandidateIsExplained) {
  std::vector<LoadedComponent> components;
  components.push_back(loaded(info_a));
  components.push_back(loaded(info_b));
  components.push_back(loaded(info_high, "too new"));
  const auto filter = ComponentFilter::parse("", components);
  ASSERT_TRUE(filter);
  const auto selection = select(components, *filter, {});
  ASSERT_EQ(selection.candidates.size(), 3u);
  EXPECT_EQ(selection.candidates[0].verdict, "not chosen: too new");
  EXPECT_EQ(selection.candidates[1].verdict.substr(0, 7), "chosen:");
  EXPECT_NE(selection.candidates[2].verdict.find("by name"), std::string::npos);
}

TEST(Selection, OneThatServesOnlyByNameIsNeverChosenUnasked) {
  std::vector<LoadedComponent> components;
  components.push_back(loaded(info_a, "by name"));
  EXPECT_EQ(chosen(components, ""), "nobody");
  EXPECT_EQ(chosen(components, "a"), "a");  // the list names it
  const auto filter = ComponentFilter::parse("", components);
  ASSERT_TRUE(filter);
  EXPECT_TRUE(select_by_name(components, *filter, "a", {}));
}

TEST(Selection, NamedComponentIsTakenOrAnErrorAndNobodyStepsIn) {
  std::vector<LoadedComponent> components;
  components.push_back(loaded(info_a));
  components.push_back(loaded(info_high, "broken"));
  const auto all = ComponentFilter::parse("", components);
  const auto without = ComponentFilter::parse("^a", components);
  ASSERT_TRUE(all && without);
  auto broken = select_by_name(components, *all, "high", {});
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code(), Errc::unsupported);
  auto off = select_by_name(components, *without, "a", {});
  ASSERT_FALSE(off);
  EXPECT_EQ(off.error().code(), Errc::unsupported);
  auto missing = select_by_name(components, *all, "hig", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::usage);
  EXPECT_NE(missing.error().hint().find("high"), std::string::npos);
}

}  // namespace
}  // namespace crs
