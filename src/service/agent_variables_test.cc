// SPDX-License-Identifier: Apache-2.0
#include "service/agent_variables.h"

#include <gtest/gtest.h>

namespace crs {
namespace {

using Environment = std::vector<std::string>;

TEST(AgentVariables, AreAdded) {
  Environment environment{"A=b"};
  ASSERT_TRUE(add_agent(environment, "/lib/libcrs.so"));
  EXPECT_EQ(environment, (Environment{"A=b", "LD_PRELOAD=/lib/libcrs.so", "CRS_AGENT=1"}));
}

TEST(AgentVariables, KeepWhatIsPreloaded) {
  Environment environment{"LD_PRELOAD=/a.so /b.so", "CRS_AGENT=0"};
  ASSERT_TRUE(add_agent(environment, "/lib/libcrs.so"));
  EXPECT_EQ(environment, (Environment{"LD_PRELOAD=/a.so /b.so:/lib/libcrs.so", "CRS_AGENT=1"}));
}

TEST(AgentVariables, AreNotAddedTwice) {
  Environment environment;
  ASSERT_TRUE(add_agent(environment, "/lib/libcrs.so"));
  const Environment once = environment;
  ASSERT_TRUE(add_agent(environment, "/lib/libcrs.so"));
  EXPECT_EQ(environment, once);
}

TEST(AgentVariables, AreNotMixedUpWithLongerNames) {
  Environment environment{"LD_PRELOADED=x", "LD_PRELOAD="};
  ASSERT_TRUE(add_agent(environment, "/lib/libcrs.so"));
  EXPECT_EQ(environment, (Environment{"LD_PRELOADED=x", "LD_PRELOAD=/lib/libcrs.so", "CRS_AGENT=1"}));
}

TEST(AgentVariables, RefuseAPathThatTheLoaderWouldSplit) {
  for (const char* path : {"/a b/libcrs.so", "/a:b/libcrs.so"}) {
    Environment environment;
    const auto added = add_agent(environment, path);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code(), Errc::unsupported);
    EXPECT_TRUE(environment.empty());
  }
}

}  // namespace
}  // namespace crs
