// SPDX-License-Identifier: Apache-2.0
#include "engine/deleted_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace crs {
namespace {

bool loads(const state::DeletedFile& file) {
  state::DeletedFiles files;
  *files.add_files() = file;
  return DeletedFiles().load(files.SerializeAsString()).has_value();
}

state::DeletedFile in_memory(const std::string& path) {
  state::DeletedFile file;
  file.set_path(path);
  file.set_in_memory(true);
  return file;
}

TEST(DeletedFiles, InMemoryMayHaveAnyName) {
  for (const char* path : {"/memfd:", "/memfd:a/", "/memfd:a\n(deleted)"})
    EXPECT_TRUE(loads(in_memory(path))) << path;
}

TEST(DeletedFiles, InMemoryAreNamedAsTheKernelNamesThem) {
  for (const char* path : {"/", "/a", "/tmp/memfd:a"}) EXPECT_FALSE(loads(in_memory(path))) << path;
}

TEST(DeletedFiles, HaveOnlyKnownSealsAndOnlyInMemory) {
  auto file = in_memory("/memfd:a");
  file.set_seals(F_SEAL_SEAL | F_SEAL_WRITE);
  EXPECT_TRUE(loads(file));
  file.set_seals(1u << 20);
  EXPECT_FALSE(loads(file));
  state::DeletedFile on_disk;
  on_disk.set_path("/tmp/a");
  EXPECT_TRUE(loads(on_disk));
  on_disk.set_seals(F_SEAL_WRITE);
  EXPECT_FALSE(loads(on_disk));
}

}  // namespace
}  // namespace crs
