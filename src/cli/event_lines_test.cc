// SPDX-License-Identifier: Apache-2.0
#include "cli/event_lines.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <unistd.h>

namespace crs {
namespace {

std::string json_of(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

TEST(CutForJson, KeepsWhatFits) {
  EXPECT_EQ(cut_for_json("a label", 100), "a label");
  EXPECT_EQ(cut_for_json("", 0), "");
  EXPECT_EQ(cut_for_json("ab", 1), "a");
  EXPECT_EQ(cut_for_json("\xc3\xa4\xc3\xa4", 3), "\xc3\xa4");  // no half character
}

TEST(CutForJson, CountsAsJsonDoes) {
  for (const std::string& piece :
       {std::string("\n"), std::string("\x01"), std::string("\""), std::string("\xff"),
        std::string("\xe2\x82\xac"), std::string("\xf0\x9f\x98\x80"), std::string("\xc3")}) {
    std::string text;
    while (text.size() < 5000) text += piece;
    EXPECT_LE(json_of(cut_for_json(text, 1000)).size(), 1002u) << json_of(piece);
  }
}

class Lines : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0); }
  void TearDown() override {
    if (ends[0] >= 0) close(ends[0]);
  }
  std::string read_all() {
    std::string text;
    char piece[65536];
    for (ssize_t got = 0; (got = read(ends[0], piece, sizeof piece)) > 0;)
      text.append(piece, static_cast<std::size_t>(got));
    return text;
  }
  int ends[2] = {-1, -1};
  Observer nobody;
};

TEST_F(Lines, AreObjects) {
  auto lines = EventLines::open(ends[1], nobody);
  ASSERT_TRUE(lines);
  lines->phase("freeze");
  lines->progress(1, 2);
  lines->delayed("by 'a\nb'");
  lines->note(std::string(10000, '\n'));
  const Error error(Errc::busy, "somebody else");
  lines->end(&error);
  std::vector<nlohmann::json> events;
  const std::string text = read_all();
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    ASSERT_LE(end - at, static_cast<std::size_t>(PIPE_BUF));
    events.push_back(nlohmann::json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0]["phase"], "freeze");
  EXPECT_EQ(events[1]["total_bytes"], 2);
  EXPECT_EQ(events[2]["text"], "by 'a\nb'");
  EXPECT_EQ(events[3]["event"], "note");
  EXPECT_EQ(events[4]["exit"], exit_code(Errc::busy));
  EXPECT_EQ(events[4]["dropped"], 0);
}

TEST_F(Lines, DoNotWaitForAReader) {
  auto lines = EventLines::open(ends[1], nobody);
  ASSERT_TRUE(lines);
  for (int i = 0; i < 2000; ++i) lines->note(std::string(200, 'x'));
  lines->end(nullptr);
  EXPECT_LT(read_all().size(), 2000u * 200);
}

TEST_F(Lines, DoNotNeedAReader) {
  auto lines = EventLines::open(ends[1], nobody);
  ASSERT_TRUE(lines);
  close(ends[0]);
  ends[0] = -1;
  lines->note("to nobody");
  lines->end(nullptr);
}

TEST(EventLines, WantADescriptorForWriting) {
  Observer nobody;
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(EventLines::open(fd, nobody));
  close(fd);
  EXPECT_FALSE(EventLines::open(fd, nobody));
  EXPECT_TRUE(EventLines::open(-1, nobody));
}

}  // namespace
}  // namespace crs
