// SPDX-License-Identifier: Apache-2.0
#include "service/plugin.h"

#include <gtest/gtest.h>

#include <cstring>

namespace crs {
namespace {

crs_component_definition good() {
  crs_component_definition definition{};
  definition.size = sizeof definition;
  definition.type = CRS_COMPONENT_TYPE;
  definition.interface_version = CRS_COMPONENT_INTERFACE;
  definition.name = "odd";
  definition.version = "1";
  definition.summary = "for tests";
  definition.query = [](const crs_component_host*, pid_t, bool) { return 0; };
  definition.checkpoint = [](const crs_component_host*, const crs_component_checkpoint*,
                             crs_component_saved*) { return 0; };
  definition.restart = [](const crs_component_host*, const crs_component_restart*, crs_component_restarted*) {
    return 0;
  };
  return definition;
}

TEST(Plugin, AGoodDefinitionIsTakenAsItIs) {
  const auto definition = good();
  const auto read = read_definition(&definition, sizeof definition, "odd");
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(std::memcmp(&*read, &definition, sizeof definition), 0);
}

TEST(Plugin, ADefinitionMayBeLongerThanOurs) {
  struct {
    crs_component_definition definition = good();
    void* later = nullptr;
  } longer;
  longer.definition.size = sizeof longer;
  EXPECT_TRUE(read_definition(&longer, sizeof longer, "odd"));
}

TEST(Plugin, NoByteBehindTheSymbolIsRead) {
  const auto definition = good();
  for (std::size_t bytes = 0; bytes < sizeof definition; ++bytes) {
    const auto cut =
        std::make_unique<char[]>(bytes);  // exactly so long: a sanitizer sees what is read behind it
    std::memcpy(cut.get(), &definition, bytes);
    const auto read = read_definition(cut.get(), bytes, "odd");
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code(), Errc::unsupported);
  }
}

TEST(Plugin, AVersionOfTheInterfaceThatCameLaterIsRefused) {
  for (const char* version : {"2.1.0", "3.0.0", "1.0.0", "2.0", "2", "x", "", "2.0.0x"}) {
    auto definition = good();
    definition.interface_version = version;
    EXPECT_FALSE(read_definition(&definition, sizeof definition, "odd")) << version;
  }
  auto definition = good();
  definition.interface_version = "2.0.7";
  EXPECT_TRUE(read_definition(&definition, sizeof definition, "odd"));
}

TEST(Plugin, NamesAreWords) {
  for (const char* name : {"a", "dmtcp", "my-own2", "a2345678901234567890123456789012"})
    EXPECT_TRUE(valid_plugin_name(name)) << name;
  for (const char* name : {"", "-a", "2a", "A", "a_b", "a.b", "a/b", "a23456789012345678901234567890123"})
    EXPECT_FALSE(valid_plugin_name(name)) << name;
}

}  // namespace
}  // namespace crs
