// SPDX-License-Identifier: Apache-2.0
#include "store/manifest.h"

#include <functional>

#include "store/checksum.h"
#include "store/section_file.h"
#include "store/testing.h"

namespace crs::store {
namespace {

using testing::small_manifest;

Manifest full_manifest() {
  Manifest manifest = small_manifest();
  manifest.generation = 7;
  manifest.created_ns = 1'700'000'000'123'456'789;
  manifest.pid = -1;
  manifest.uid = 4'294'967'295u;
  manifest.memory_bytes = 18'446'744'073'709'551'615u;
  manifest.files = {{"state.pb", 12, std::string(32, 'a')}};
  manifest.component_data = {{"native", {{"key", {1, 2.5, "three"}}}}};
  return manifest;
}

// The text after a change to the JSON, with the checksum that belongs to it.
std::string changed(const std::function<void(nlohmann::json&)>& change) {
  auto json = nlohmann::json::parse(full_manifest().to_json_text());
  json.erase("checksum");
  change(json);
  json["checksum"] = checksum_of(as_bytes(json.dump(-1, ' ', true))).to_hex();
  return json.dump(2);
}

TEST(ManifestText, KeepsEveryValue) {
  const Manifest before = full_manifest();
  const auto after = Manifest::parse(before.to_json_text(), "here");
  ASSERT_OK(after);
  EXPECT_EQ(after->to_json_text(), before.to_json_text());
  EXPECT_EQ(after->arguments, before.arguments);
  EXPECT_EQ(after->memory_bytes, before.memory_bytes);
  EXPECT_EQ(after->uid, before.uid);
  EXPECT_EQ(after->pid, -1);
  EXPECT_EQ(after->component_data, before.component_data);
  EXPECT_EQ(after->architecture, "x86_64");
}

TEST(ManifestText, TellsOfLeftOutMemoryOnlyWhereThereIsSome) {
  Manifest manifest = full_manifest();
  EXPECT_EQ(manifest.to_json_text().find("left_out_bytes"), std::string::npos);
  manifest.left_out_bytes = 1u << 30;
  const auto after = Manifest::parse(manifest.to_json_text(), "here");
  ASSERT_OK(after);
  EXPECT_EQ(after->left_out_bytes, 1u << 30);
  EXPECT_TRUE(after->unknown.empty());
}

TEST(ManifestText, KeepsUnknownKeys) {
  const auto manifest = Manifest::parse(changed([](auto& json) {
                                          json["later"] = {{"a", {1, nullptr}}};
                                        }),
                                        "here");
  ASSERT_OK(manifest);
  EXPECT_EQ(manifest->unknown["later"]["a"][0], 1);
  const auto again = Manifest::parse(manifest->to_json_text(), "here");
  ASSERT_OK(again);
  EXPECT_EQ(again->unknown, manifest->unknown);
}

TEST(ManifestText, HoldsWhatIsNotUtf8) {
  Manifest manifest = full_manifest();
  manifest.arguments = {"\xff\xfe", "\xc3\xa4", std::string("a\0b", 3), "\"\\\n"};
  const auto after = Manifest::parse(manifest.to_json_text(), "here");
  ASSERT_OK(after);
  EXPECT_EQ(after->arguments[1], manifest.arguments[1]);
  EXPECT_EQ(after->arguments[2], manifest.arguments[2]);
  EXPECT_EQ(after->arguments[3], manifest.arguments[3]);
}

TEST(ManifestText, NoticesEveryFlippedBit) {
  const std::string text = full_manifest().to_json_text();
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const auto manifest = Manifest::parse(flipped, "here");
      ASSERT_FALSE(manifest) << "byte " << at << " bit " << bit << ": " << text.substr(at, 20);
      EXPECT_EQ(manifest.error().code(), Errc::bad_snapshot);
    }
  }
}

TEST(ManifestText, NoticesTruncationAtEveryLength) {
  const std::string text = full_manifest().to_json_text();
  for (std::size_t length = 0; length + 1 < text.size(); ++length) {  // the last byte is a newline
    EXPECT_FALSE(Manifest::parse(std::string_view(text).substr(0, length), "here")) << length;
  }
}

TEST(ManifestText, NamesBothVersionsWhenTheFormatIsNewer) {
  const auto manifest = Manifest::parse(changed([](auto& json) { json["format_version"] = 3; }), "here");
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code(), Errc::bad_snapshot);
  EXPECT_EQ(manifest.error().message(), "here: it has format version 3, this crs reads up to version 2");
}

TEST(ManifestText, RefusesMissingMistypedAndImpossibleValues) {
  const std::vector<std::function<void(nlohmann::json&)>> changes = {
      [](auto& json) { json.erase("job"); },
      [](auto& json) { json["job"] = 1; },
      [](auto& json) { json["pid"] = "1"; },
      [](auto& json) { json["pid"] = 1.5; },
      [](auto& json) { json["uid"] = -1; },
      [](auto& json) { json["left_out_bytes"] = "1"; },
      [](auto& json) { json["uid"] = 4'294'967'296; },
      [](auto& json) { json["format_version"] = 4'294'967'297; },
      [](auto& json) { json["format_version"] = 0; },
      [](auto& json) { json["arguments"] = {1}; },
      [](auto& json) { json["files"] = nlohmann::json::object(); },
      [](auto& json) { json["files"] = {1}; },
      [](auto& json) { json["files"][0]["name"] = "../state.pb"; },
      [](auto& json) { json["files"][0]["name"] = ".."; },
      [](auto& json) { json["files"][0]["name"] = ""; },
      [](auto& json) { json["files"][0]["bytes"] = -1; },
      [](auto& json) { json["files"].push_back(json["files"][0]); },
      [](auto& json) { json["component_data"] = 1; },
  };
  ASSERT_OK(Manifest::parse(changed([](auto&) {}), "here"));
  for (std::size_t i = 0; i < changes.size(); ++i) {
    const auto manifest = Manifest::parse(changed(changes[i]), "here");
    ASSERT_FALSE(manifest) << i;
    EXPECT_EQ(manifest.error().code(), Errc::bad_snapshot);
  }
}

TEST(ManifestText, RefusesBottomlessNesting) {
  const std::string deep = R"({"format_version":1,"x":)" + std::string(1'000'000, '[');
  EXPECT_FALSE(Manifest::parse(deep, "here"));
  EXPECT_FALSE(Manifest::parse(deep + std::string(1'000'000, ']') + "}", "here"));
}

TEST(SectionFile, KeepsSectionsAndFindsEveryFlippedBitAndCut) {
  const std::vector<Section> sections = {
      {"a", "content"}, {"empty", ""}, {"b.c-d_e", std::string(300, '\0')}};
  const std::string text = sections_text(sections);
  const auto parsed = parse_sections(text, "here");
  ASSERT_OK(parsed);
  EXPECT_EQ(*parsed, sections);
  for (std::size_t at = 0; at < text.size() * 8; ++at) {
    std::string flipped = text;
    flipped[at / 8] = static_cast<char>(flipped[at / 8] ^ (1 << (at % 8)));
    EXPECT_FALSE(parse_sections(flipped, "here")) << at;
  }
  int whole =
      0;  // a cut between two sections leaves a valid file: the manifest knows its length and checksum
  for (std::size_t length = 0; length < text.size(); ++length) {
    if (parse_sections(std::string_view(text).substr(0, length), "here")) ++whole;
  }
  EXPECT_EQ(whole, 3);
}

TEST(SectionFile, RefusesTwoOfOneName) {
  EXPECT_FALSE(parse_sections(sections_text({{"a", "1"}, {"a", "2"}}), "here"));
  EXPECT_FALSE(parse_sections(sections_text({{"a/b", "1"}}), "here"));
}

}  // namespace
}  // namespace crs::store
