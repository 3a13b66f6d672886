// SPDX-License-Identifier: Apache-2.0
#include "gate/program_text.h"

#include <gtest/gtest.h>

namespace crs {
namespace {

TEST(ProgramText, ShowsControlCharactersAsWhatTheyAre) {
  EXPECT_EQ(program_text(std::string_view("update of both files")), "update of both files");
  EXPECT_EQ(program_text(std::string_view("a\ncrs: note: b\t\x1b[2J\x7f")),
            "a\\x0acrs: note: b\\x09\\x1b[2J\\x7f");
  EXPECT_EQ(program_text(std::string_view("Größe")), "Größe");
}

TEST(ProgramText, EndsAtTheFirstNulOrWithTheField) {
  EXPECT_EQ(program_text("one\0two"), "one");
  const char full[3] = {'a', 'b', 'c'};
  EXPECT_EQ(program_text(full), "abc");
}

}  // namespace
}  // namespace crs
