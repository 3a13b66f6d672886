// SPDX-License-Identifier: Apache-2.0
#include "os/nearest_name.h"

#include <gtest/gtest.h>

#include <vector>

namespace crs {
namespace {

TEST(NearestName, FarNamesAreNotSuggested) {
  const std::vector<std::string> names{"checkpoint", "restart", "rm"};
  EXPECT_EQ(nearest_name("chekpoint", names), "checkpoint");
  EXPECT_EQ(nearest_name("rn", names), "rm");
  EXPECT_EQ(nearest_name("nonsense", names), std::nullopt);
}

TEST(EditDistance, CountsWhatMustBeChanged) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

}  // namespace
}  // namespace crs
