// SPDX-License-Identifier: Apache-2.0
#include "service/parameters.h"

#include <gtest/gtest.h>

namespace crs {
namespace {

constexpr ParameterInfo infos[] = {
    {.name = "workers",
     .type = ParameterType::integer,
     .default_value = "0",
     .help = "",
     .minimum = 0,
     .maximum = 8},
    {.name = "warn", .type = ParameterType::boolean, .default_value = "yes", .help = ""},
    {.name = "two-words", .type = ParameterType::text, .default_value = "x", .help = ""},
};

Parameters declared() {
  Parameters parameters;
  parameters.declare("native", infos);
  return parameters;
}

TEST(Parameters, DefaultsHold) {
  const auto parameters = declared();
  EXPECT_EQ(parameters.view("native").integer("workers"), 0);
  EXPECT_TRUE(parameters.view("native").boolean("warn"));
  EXPECT_EQ(parameters.view("native").text("two-words"), "x");
}

TEST(Parameters, CommandLineBeatsEnvironmentBeatsConfigWhateverTheOrder) {
  const char* environment[] = {"HOME=/", "CRS_STORE=/s", "CRS_NATIVE_WORKERS=2", nullptr};
  auto parameters = declared();
  ASSERT_TRUE(parameters.set_from_command_line("native.workers=3"));
  ASSERT_TRUE(parameters.load_environment(environment));
  ASSERT_TRUE(parameters.load_config("native.workers = 1\n", "file"));
  EXPECT_EQ(parameters.view("native").integer("workers"), 3);
  EXPECT_EQ(parameters.find("native.workers")->source, ParameterSource::command_line);

  auto fewer = declared();
  ASSERT_TRUE(fewer.load_environment(environment));
  ASSERT_TRUE(fewer.load_config("native.workers = 1\n", "file"));
  EXPECT_EQ(fewer.view("native").integer("workers"), 2);
  EXPECT_EQ(fewer.find("native.workers")->origin, "environment variable CRS_NATIVE_WORKERS");
}

TEST(Parameters, NamesOfOthersAreNoErrorWhereTheyArePassedOver) {
  const char* environment[] = {"CRS_OTHER_THING=1", "CRS_NATIVE_WORKERS=2", nullptr};
  auto parameters = declared();
  parameters.pass_over_unknown();
  ASSERT_TRUE(parameters.set_from_command_line("other.thing=3"));
  ASSERT_TRUE(parameters.load_environment(environment));
  ASSERT_TRUE(parameters.load_config("other.thing = 1\n", "file"));
  EXPECT_EQ(parameters.view("native").integer("workers"), 2);
  EXPECT_FALSE(parameters.set_from_command_line("native.workers=9"));
  EXPECT_FALSE(parameters.load_config("other.thing\n", "file"));
}

TEST(Parameters, LaterConfigFileWins) {
  auto parameters = declared();
  ASSERT_TRUE(parameters.load_config("native.workers=1", "/etc/crs/config"));
  ASSERT_TRUE(parameters.load_config("# mine\n\n  native.workers =\t4  \n", "mine"));
  EXPECT_EQ(parameters.view("native").integer("workers"), 4);
  EXPECT_EQ(parameters.find("native.workers")->origin, "mine:3");
}

TEST(Parameters, AnyValueSurvives) {
  auto parameters = declared();
  for (const std::string value : {"", " leading", "a=b=c", "'quoted'", "tab\there", "\xff\xfe"}) {
    ASSERT_TRUE(parameters.set_from_command_line("native.two-words=" + value));
    EXPECT_EQ(parameters.view("native").text("two-words"), value);
  }
}

TEST(Parameters, UnknownNameIsAnErrorThatSuggestsTheNearest) {
  auto parameters = declared();
  auto status = parameters.set_from_command_line("native.wokers=1");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::usage);
  EXPECT_NE(status.error().hint().find("native.workers"), std::string::npos);

  const char* environment[] = {"CRS_NATIVE_TWO_WORD=1", nullptr};
  status = parameters.load_environment(environment);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().hint().find("CRS_NATIVE_TWO_WORDS"), std::string::npos);

  status = parameters.load_config("\nnative.work = 1", "file");
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("file:2"), std::string::npos);
}

TEST(Parameters, MisspelledOwnerInTheEnvironmentIsAnError) {
  for (const char* wrong : {"CRS_NATVE_WORKERS=1", "CRS_FOREIGN_THING=1", "CRS_STOR=/s", "CRS__=1"}) {
    const char* environment[] = {wrong, nullptr};
    auto parameters = declared();
    const auto status = parameters.load_environment(environment);
    ASSERT_FALSE(status) << wrong;
    EXPECT_EQ(status.error().code(), Errc::usage);
  }
  const char* misspelled[] = {"CRS_NATVE_WORKERS=1", nullptr};
  auto parameters = declared();
  EXPECT_NE(parameters.load_environment(misspelled).error().hint().find("CRS_NATIVE_WORKERS"),
            std::string::npos);
}

TEST(Parameters, EnvironmentOfOthersIsLeftAlone) {
  const char* environment[] = {"CRS_STORE=/s",    "CRS_TEST_KILLS=3",      "CRS_BENCH_CRIU=/c",
                               "CRS_UNRELATED=1", "CRSX_NATIVE_WORKERS=1", nullptr};
  auto parameters = declared();
  EXPECT_TRUE(parameters.load_environment(environment));
}

TEST(Parameters, EnvironmentVariableWithHyphenBecomesUnderscore) {
  auto parameters = declared();
  const char* environment[] = {"CRS_NATIVE_TWO_WORDS=a b", nullptr};
  ASSERT_TRUE(parameters.load_environment(environment));
  EXPECT_EQ(parameters.view("native").text("two-words"), "a b");
}

TEST(Parameters, WrongValuesAreErrors) {
  auto parameters = declared();
  for (const char* wrong :
       {"native.workers=", "native.workers=1x", "native.workers=-1", "native.workers=9",
        "native.workers=99999999999999999999", "native.warn=maybe", "native.warn", "workers=1"}) {
    EXPECT_FALSE(parameters.set_from_command_line(wrong)) << wrong;
  }
  EXPECT_FALSE(parameters.load_config("native.workers", "file"));
  EXPECT_EQ(parameters.view("native").integer("workers"), 0);
}

}  // namespace
}  // namespace crs
