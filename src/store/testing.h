// SPDX-License-Identifier: Apache-2.0
// For the tests of the store: a directory that goes with the test, memory of several textures, a small
// snapshot.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "os/file_io.h"
#include "store/page_file.h"
#include "store/snapshot.h"

namespace crs::store::testing {

class Scratch {
 public:
  Scratch() {
    std::string pattern = ::testing::TempDir() + "crs-store-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline Bytes random_bytes(std::size_t size, unsigned seed) {
  std::mt19937_64 generator(seed);
  Bytes bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(generator());
  return bytes;
}

inline Bytes text_bytes(std::size_t size, unsigned seed) {
  std::mt19937 generator(seed);
  static constexpr std::string_view words[] = {"freeze ",  "thread ", "page ",   "signal ",
                                               "kernel\n", "0x7fff",  "mapping "};
  std::string text;
  while (text.size() < size) text += words[generator() % std::size(words)];
  const auto bytes = as_bytes(std::string_view(text).substr(0, size));
  return {bytes.begin(), bytes.end()};
}

inline std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void overwrite(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

template <class Value>
::testing::AssertionResult is_ok(const Result<Value>& result) {
  if (result) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << result.error().to_string();
}
#define ASSERT_OK(...) ASSERT_TRUE(::crs::store::testing::is_ok(__VA_ARGS__))

inline Manifest small_manifest() {
  Manifest manifest;
  manifest.component = "native";
  manifest.crs_version = "0.1.0";
  manifest.job = "job";
  manifest.architecture = "x86_64";
  manifest.host = "host";
  manifest.kernel = "6.1";
  manifest.boot_id = "b";
  manifest.pid = 42;
  manifest.command = "prog";
  manifest.executable = "/bin/prog";
  manifest.arguments = {"prog", "two words", ""};
  manifest.threads = 2;
  return manifest;
}

// Two sections, one compressed and one raw chunk.
inline Status fill(SnapshotWriter& writer, unsigned seed) {
  CRS_CHECK(writer.add_section("threads", "some state " + std::to_string(seed)));
  CRS_CHECK(writer.add_section("empty", ""));
  const PageRun compressed[] = {{0x10000, 1, 0}, {0x30000, 2, 0}};
  const PageRun raw[] = {{0x50000, 1, 1}};
  CRS_CHECK(writer.pages().write_chunk(compressed, text_bytes(3 * 4096, seed)));
  return writer.pages().write_chunk(raw, random_bytes(4096, seed));
}

inline Result<std::string> write_small(SnapshotWriter& writer, unsigned seed) {
  CRS_CHECK(fill(writer, seed));
  return writer.commit(small_manifest());
}

// What open() and verify() say together.
inline Status check(const std::string& path) {
  CRS_TRY(const auto reader, SnapshotReader::open(path));
  return reader.verify(2);
}

}  // namespace crs::store::testing
