// SPDX-License-Identifier: Apache-2.0
#include "gate/self_table.h"

#include <gtest/gtest.h>

namespace crs {
namespace {

SelfTable example() {
  SelfTable table;
  table.prefix = "my_solver";
  table.restarts = 3;
  table.has_command = true;
  table.arguments = {"/bin/a b", "", "two\nlines", "\"'"};
  table.directory = "/tmp";
  table.has_environment = true;
  table.environment = {"A=\xff", "B="};
  table.parts = {{SelfPart::Kind::region, "field", 0x7f00, 100}, {SelfPart::Kind::section, "", 0, 0}};
  return table;
}

TEST(SelfTable, SurvivesAllBytes) {
  const auto table = decode_self_table(encode(example()) + "what follows");
  ASSERT_TRUE(table);
  EXPECT_EQ(encode(*table), encode(example()));
  EXPECT_EQ(table->arguments, example().arguments);
  EXPECT_EQ(table->environment, example().environment);
}

TEST(SelfTable, RefusesWhatIsCutShort) {
  const std::string bytes = encode(example());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(decode_self_table(std::string_view(bytes).substr(0, length))) << length;
}

TEST(SelfTable, BelievesNoCount) {
  std::string bytes = encode(SelfTable());
  for (std::size_t at = 8; at < bytes.size(); at += 8) {
    std::string wrong = bytes;
    wrong.replace(at, 8, "\xff\xff\xff\xff\xff\xff\xff\xff");
    (void)decode_self_table(wrong);  // neither ends nor asks for memory
  }
}

}  // namespace
}  // namespace crs
