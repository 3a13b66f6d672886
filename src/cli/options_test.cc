// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/outline.h"
#include "cli/progress.h"
#include "cli/report.h"

namespace crs {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(ParsePid, TakesDecimalNumbersUpToTheKernelsGreatest) {
  EXPECT_EQ(parse_pid("1")->v, 1);
  EXPECT_EQ(parse_pid("4194304")->v, 4194304);
  for (const char* wrong : {"", "0", "-5", "+5", "12x", "x", " 12", "12 ", "0x10", "4194305",
                            "99999999999999999999", "1.5", "4711\n"}) {
    const auto pid = parse_pid(wrong);
    ASSERT_FALSE(pid) << wrong;
    EXPECT_EQ(pid.error().code(), Errc::usage) << wrong;
  }
}

TEST(CheckPid, RefusesItselfAndInit) {
  EXPECT_EQ(check_pid(Pid(getpid())).error().code(), Errc::refused);
  EXPECT_EQ(check_pid(Pid(1)).error().code(), Errc::refused);
}

TEST(ParseSpan, KnowsUnitsAndRefusesTheRest) {
  EXPECT_EQ(*parse_span("90"), seconds(90));
  EXPECT_EQ(*parse_span("1.5s"), milliseconds(1500));
  EXPECT_EQ(*parse_span("250ms"), milliseconds(250));
  EXPECT_EQ(*parse_span("0.05s"), milliseconds(50));
  EXPECT_EQ(*parse_span("10m"), seconds(600));
  EXPECT_EQ(*parse_span("2h"), seconds(7200));
  for (const char* wrong : {"", "0", "-1", "x", "5x", "1e99", "inf", "nan", "1 s", "s", "999999999999"}) {
    EXPECT_FALSE(parse_span(wrong)) << wrong;
  }
}

TEST(ParseFdPath, WantsANumberAndAPath) {
  EXPECT_EQ(parse_fd_path("1=/a=b")->first, 1);
  EXPECT_EQ(parse_fd_path("1=/a=b")->second, "/a=b");
  for (const char* wrong : {"", "1", "=x", "1=", "-1=/a", "x=/a", "99999999=/a"})
    EXPECT_FALSE(parse_fd_path(wrong)) << wrong;
}

TEST(ParseVariable, TakesTheValueFromHereOrAsGiven) {
  EXPECT_EQ(parse_variable("A=b=c").value(), "A=b=c");
  EXPECT_EQ(parse_variable("A=").value(), "A=");
  ASSERT_EQ(setenv("CRS_TEST_VARIABLE", "here", 1), 0);
  EXPECT_EQ(parse_variable("CRS_TEST_VARIABLE").value(), "CRS_TEST_VARIABLE=here");
  ASSERT_EQ(unsetenv("CRS_TEST_VARIABLE"), 0);
  for (const char* wrong : {"", "=", "=x", "CRS_TEST_VARIABLE"}) EXPECT_FALSE(parse_variable(wrong)) << wrong;
}

TEST(DefaultJobName, IsAlwaysAValidName) {
  EXPECT_EQ(default_job_name("python3", Pid(12)), "python3-12");
  for (const char* command :
       {"", ".", "..", "../../etc", "a b", "(sd-pam)", "\xff\n", "-rf", "kworker/0:1"}) {
    const auto name = default_job_name(command, Pid(7));
    EXPECT_TRUE(store::Store::valid_job_name(name)) << name;
    EXPECT_EQ(name.find('/'), std::string::npos);
  }
}

TEST(AbsolutePath, LosesDotsAndTrailingSlashes) {
  EXPECT_EQ(*absolute_path("/a/./b/../c//"), "/a/c");
  EXPECT_EQ(*absolute_path("/"), "/");
  EXPECT_TRUE(absolute_path("x")->starts_with('/'));
  EXPECT_FALSE(absolute_path(""));
}

TEST(Report, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\r\n\tc"), "a\\x1b[2Jb\\x0d\n\tc");
  EXPECT_EQ(printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
}

TEST(Report, SizesAndSpansAreShort) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(64u << 20), "64 MiB");
  EXPECT_EQ(format_span(nanoseconds(2200)), "2 us");
  EXPECT_EQ(format_span(milliseconds(12)), "12.0 ms");
  EXPECT_EQ(format_span(seconds(125)), "2 min 5 s");
}

TEST(Report, JsonTakesAnyBytes) {
  EXPECT_NE(json_text(nlohmann::json("\xff\xfe")).size(), 0u);
}

TEST(Progress, LineTellsShareRateAndRest) {
  const auto line = progress_line(512u << 20, 1024u << 20, seconds(1));
  EXPECT_NE(line.find(" 50%"), std::string::npos) << line;
  EXPECT_NE(line.find("512 MiB of 1.0 GiB"), std::string::npos) << line;
  EXPECT_NE(line.find("512 MiB/s"), std::string::npos) << line;
  EXPECT_NE(line.find("1.0 s left"), std::string::npos) << line;
  EXPECT_FALSE(progress_line(0, 0, nanoseconds(0)).empty());
  EXPECT_EQ(progress_line(7, 5, seconds(1)).find("left"), std::string::npos);
}

TEST(Outline, FlatThingsAreOneLine) {
  const auto shown = [](const char* text) { return outline(nlohmann::json::parse(text)); };
  EXPECT_EQ(shown(R"({"threads": [{"id": 7, "name": "a"}]})"), "threads\n  - id 7, name a\n");
  EXPECT_EQ(shown(R"({"umask": {"mask": "022"}})"), "umask\n  mask 022\n");
  EXPECT_EQ(shown("null"), "");
}

TEST(Outline, WordsAreQuotedWhereAShellWantsIt) {
  EXPECT_EQ(shell_word("plain-1.0"), "plain-1.0");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("it's $x"), "'it'\\''s $x'");
}

}  // namespace
}  // namespace crs
