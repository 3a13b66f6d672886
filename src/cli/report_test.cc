// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <gtest/gtest.h>

namespace crs {
namespace {

nlohmann::json one(const std::string& object) {
  return json_blockers({{"kind", object, "reason", "remedy"}}).at(0);
}

TEST(JsonBlockers, TellsDescriptorsAndPath) {
  using List = std::vector<int>;
  EXPECT_EQ(one("fd 3 (socket:[17])")["descriptors"], List{3});
  EXPECT_EQ(one("fd 3 (socket:[17])")["path"], "socket:[17]");
  EXPECT_EQ(one("fd 3, 14 (/a (b)/c)")["descriptors"], (List{3, 14}));
  EXPECT_EQ(one("fd 3, 14 (/a (b)/c)")["path"], "/a (b)/c");
  EXPECT_EQ(one("fd 3, fd 4")["descriptors"], (List{3, 4}));
  EXPECT_EQ(one("fd 3")["path"], nullptr);
  EXPECT_EQ(one("fd x")["descriptors"], List{});
}

TEST(JsonBlockers, TellsPathsOfWhatIsNoDescriptor) {
  EXPECT_EQ(one("executable /usr/bin/a b")["path"], "/usr/bin/a b");
  EXPECT_EQ(one("/usr/lib/x.so")["path"], "/usr/lib/x.so");
  EXPECT_EQ(one("memory 0x1000-0x2000 (/dev/dri/card0)")["path"], "/dev/dri/card0");
  EXPECT_EQ(one("memory 0x1000-0x2000 ([heap])")["path"], nullptr);
  EXPECT_EQ(one("thread 7")["path"], nullptr);
  EXPECT_EQ(one("thread 7")["descriptors"], std::vector<int>{});
}

}  // namespace
}  // namespace crs
