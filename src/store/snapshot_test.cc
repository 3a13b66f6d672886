// SPDX-License-Identifier: Apache-2.0
#include "store/snapshot.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "store/store.h"
#include "store/testing.h"

namespace crs::store {
namespace {

using testing::check;
using testing::fill;
using testing::Scratch;
using testing::small_manifest;
using testing::write_small;

Result<std::string> write_at(const std::string& path, unsigned seed = 1) {
  CRS_TRY(auto writer, SnapshotWriter::create(path, {}));
  return write_small(writer, seed);
}

std::vector<std::string> names_in(const std::string& path) {
  return list_directory(path).value_or(std::vector<std::string>{});
}

unsigned mode_of(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? status.st_mode & 07777u : 0;
}

TEST(Snapshot, IsReadAsItWasWritten) {
  Scratch scratch;
  auto path = write_at(scratch / "snap");
  ASSERT_OK(path);
  EXPECT_EQ(*path, scratch / "snap");
  EXPECT_EQ(names_in(scratch.path()), std::vector<std::string>{"snap"});
  auto reader = SnapshotReader::open(*path);
  ASSERT_OK(reader);
  EXPECT_EQ(reader->manifest().arguments, small_manifest().arguments);
  EXPECT_EQ(reader->section_names(), (std::vector<std::string>{"threads", "empty"}));
  EXPECT_EQ(*reader->section("threads"), "some state 1");
  EXPECT_EQ(reader->section("none").error().code(), Errc::bad_snapshot);
  ASSERT_TRUE(reader->has_pages());
  EXPECT_EQ(reader->pages().total_pages(), 4u);
  ASSERT_OK(reader->verify(2));
}

TEST(Snapshot, IsPrivateWhateverTheUmask) {
  for (const mode_t mask : {0000u, 0077u, 0277u}) {
    Scratch scratch;
    const mode_t before = umask(mask);
    const auto path = write_at(scratch / "new/snap");
    umask(before);
    ASSERT_OK(path);
    EXPECT_EQ(mode_of(scratch / "new"), 0700u);
    EXPECT_EQ(mode_of(*path), 0700u);
    for (const auto& name : names_in(*path)) EXPECT_EQ(mode_of(*path + "/" + name), 0600u) << name;
  }
}

TEST(Snapshot, FindsEveryFlippedBitOfEveryFile) {
  Scratch scratch;
  const auto path = write_at(scratch / "snap");
  ASSERT_OK(path);
  ASSERT_OK(check(*path));
  for (const auto& name : names_in(*path)) {
    const std::string file = *path + "/" + name;
    const std::string whole = testing::read_all(file);
    const OwnedFd fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    for (std::size_t at = 0; at < whole.size(); ++at) {
      const char flipped = static_cast<char>(whole[at] ^ (1 << (at % 8)));
      ASSERT_EQ(pwrite(fd.get(), &flipped, 1, static_cast<off_t>(at)), 1);
      const auto status = check(*path);
      ASSERT_FALSE(status) << name << " byte " << at;
      EXPECT_EQ(status.error().code(), Errc::bad_snapshot) << status.error().to_string();
      ASSERT_EQ(pwrite(fd.get(), &whole[at], 1, static_cast<off_t>(at)), 1);
    }
  }
  ASSERT_OK(check(*path));
}

TEST(Snapshot, FindsTruncationAndMissingFiles) {
  Scratch scratch;
  const auto path = write_at(scratch / "snap");
  ASSERT_OK(path);
  for (const auto& name : names_in(*path)) {
    const std::string file = *path + "/" + name;
    const std::string whole = testing::read_all(file);
    for (std::size_t length = 0; length + 1 < whole.size(); ++length) {
      ASSERT_EQ(truncate(file.c_str(), static_cast<off_t>(length)), 0);
      const auto status = check(*path);
      ASSERT_FALSE(status) << name << " cut at " << length;
      EXPECT_EQ(status.error().code(), Errc::bad_snapshot);
      if (length % 64 == 0 || length < 128) testing::overwrite(file, whole);
    }
    unlink(file.c_str());
    EXPECT_EQ(check(*path).error().code(), Errc::bad_snapshot);
    testing::overwrite(file, whole);
  }
  ASSERT_OK(check(*path));
}

TEST(Snapshot, RefusesWhatOthersMayWriteLinksAndSpecialFiles) {
  Scratch scratch;
  const auto path = write_at(scratch / "snap");
  ASSERT_OK(path);
  chmod(path->c_str(), 0770);
  EXPECT_EQ(check(*path).error().code(), Errc::permission);
  chmod(path->c_str(), 0700);
  const std::string state = *path + "/state.pb";
  chmod(state.c_str(), 0602);
  EXPECT_EQ(check(*path).error().code(), Errc::permission);
  chmod(state.c_str(), 0600);
  ASSERT_OK(check(*path));
  if (geteuid() == 0) {
    ASSERT_EQ(chown(path->c_str(), 12345, 12345), 0);
    EXPECT_EQ(check(*path).error().code(), Errc::permission);
    ASSERT_EQ(chown(path->c_str(), 0, 0), 0);
  }
  std::filesystem::rename(state, scratch / "elsewhere");
  std::filesystem::create_symlink(scratch / "elsewhere", state);
  EXPECT_EQ(check(*path).error().code(), Errc::bad_snapshot);
  unlink(state.c_str());
  ASSERT_EQ(mkfifo(state.c_str(), 0600), 0);
  EXPECT_EQ(check(*path).error().code(), Errc::bad_snapshot);  // and does not wait for a writer
  EXPECT_EQ(check(scratch / "nothing").error().code(), Errc::not_found);
  EXPECT_EQ(check(scratch / "elsewhere").error().code(), Errc::bad_snapshot);
  EXPECT_EQ(check(scratch.path()).error().code(), Errc::bad_snapshot);
}

TEST(Snapshot, LeavesNothingWithoutCommit) {
  Scratch scratch;
  {
    auto writer = SnapshotWriter::create(scratch / "snap", {});
    ASSERT_OK(writer);
    ASSERT_OK(fill(*writer, 1));
    EXPECT_EQ(names_in(scratch.path()).size(), 1u);
    if (fork() == 0) {  // a copy of the writer is not the writer
      { auto copy = std::move(*writer); }
      _exit(0);
    }
    wait(nullptr);
    EXPECT_EQ(names_in(scratch.path()).size(), 1u);
  }
  EXPECT_TRUE(names_in(scratch.path()).empty());
}

TEST(Snapshot, NeverReplacesAnother) {
  Scratch scratch;
  ASSERT_OK(write_at(scratch / "snap"));
  EXPECT_EQ(write_at(scratch / "snap").error().code(), Errc::storage);
  auto first = SnapshotWriter::create(scratch / "other", {});
  auto second = SnapshotWriter::create(scratch / "other", {});  // same process, same place
  ASSERT_OK(first);
  ASSERT_OK(second);
  ASSERT_OK(write_small(*first, 1));
  EXPECT_EQ(write_small(*second, 2).error().code(), Errc::storage);
  ASSERT_OK(check(scratch / "other"));
}

// In a child with a limit on file size: works for everybody, and fails in the middle of a file as a full disk
// does.
TEST(Snapshot, ReportsAFileSizeLimitAndLeavesNothing) {
  for (const rlim_t limit : {100u, 4000u, 9000u, 12400u}) {
    Scratch scratch;
    const pid_t child = fork();
    if (child == 0) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit small{limit, limit};
      setrlimit(RLIMIT_FSIZE, &small);
      const auto result = write_at(scratch / "snap");
      const bool right = !result && result.error().code() == Errc::storage &&
                         !result.error().hint().empty() &&
                         result.error().to_string().find(scratch.path()) != std::string::npos;
      _exit(right ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << limit;
    EXPECT_TRUE(names_in(scratch.path()).empty()) << limit;
  }
}

TEST(Snapshot, ReportsAFullDiskAndLeavesNothing) {
  Scratch scratch;
  const std::string small = scratch / "disk";
  mkdir(small.c_str(), 0700);
  if (mount("tmpfs", small.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "may not mount a tmpfs";
  {
    auto writer = SnapshotWriter::create(small + "/snap", {});
    ASSERT_OK(writer);
    Status status;
    for (std::uint64_t i = 0; status && i < 64; ++i) {
      const PageRun run{i * 16 * 4096, 16, 0};
      status = writer->pages().write_chunk(std::span(&run, 1), testing::random_bytes(16 * 4096, 1));
    }
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), Errc::storage);
    EXPECT_NE(status.error().hint().find("full"), std::string::npos);
    EXPECT_NE(status.error().to_string().find(small), std::string::npos);
    // Whoever commits in spite of it gets no snapshot with a hole.
    EXPECT_EQ(writer->commit(small_manifest()).error().code(), Errc::storage);
  }
  EXPECT_TRUE(names_in(small).empty());
  umount(small.c_str());
}

// tests/golden/snapshot-v1 was written by the first version and is never written again.
TEST(Snapshot, OfTheFirstVersionStaysReadable) {
  Scratch scratch;
  const std::string golden = CRS_SOURCE_DIR "/tests/golden/snapshot-v1";
  const std::string path = scratch / "snap";  // a checkout has other modes
  mkdir(path.c_str(), 0700);
  for (const auto& name : names_in(golden)) {
    testing::overwrite(path + "/" + name, testing::read_all(golden + "/" + name));
    chmod((path + "/" + name).c_str(), 0600);
  }
  const auto reader = SnapshotReader::open(path);
  ASSERT_OK(reader);
  ASSERT_OK(reader->verify(1));
  EXPECT_EQ(reader->manifest().architecture, "x86_64");
  EXPECT_EQ(reader->manifest().arguments, (std::vector<std::string>{"prog", "two words", ""}));
  EXPECT_EQ(*reader->section("threads"), "some state 1");
  ASSERT_EQ(reader->pages().chunk_count(), 2u);
  EXPECT_EQ(reader->pages().chunk(0).codec, Codec::zstd);
  EXPECT_EQ(reader->pages().chunk(1).codec, Codec::none);
  const auto& run = reader->pages().chunk(0).runs[1];
  EXPECT_EQ(run, (PageRun{0x30000, 2, 0}));
  Bytes first(4096), second(2 * 4096), raw(4096);
  const std::span<std::byte> pieces[] = {first, second};
  ASSERT_OK(reader->pages().read_chunk(0, pieces));
  Bytes text = testing::text_bytes(3 * 4096, 1);
  EXPECT_TRUE(std::equal(first.begin(), first.end(), text.begin()));
  EXPECT_TRUE(std::equal(second.begin(), second.end(), text.begin() + 4096));
  const std::span<std::byte> whole = raw;
  ASSERT_OK(reader->pages().read_chunk(1, std::span(&whole, 1)));
  EXPECT_EQ(raw, testing::random_bytes(4096, 1));
}

// kill -9 at random moments: the earlier generations stay whole, no half one is seen, and the next writer
// cleans up.
TEST(Snapshot, SurvivesItsWriterBeingKilled) {
  Scratch scratch;
  auto store = Store::open(scratch / "store", true);
  ASSERT_OK(store);
  const auto write_one = [&](unsigned seed) -> Status {
    CRS_TRY(auto writer, store->begin("job", {}));
    CRS_CHECK(write_small(writer, seed));
    return ok();
  };
  ASSERT_OK(write_one(0));
  std::mt19937 generator(1);
  for (int round = 0; round < 60; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (unsigned seed = 0;; ++seed) (void)write_one(seed);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(generator() % 20'000));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const auto generations = store->generations("job");
    ASSERT_OK(generations);
    ASSERT_FALSE(generations->empty());
    ASSERT_OK(check(generations->back().path));
    for (const auto& each : *generations) {
      if (each.number == generations->back().number) continue;
      ASSERT_OK(store->remove(each));
    }
  }
  ASSERT_OK(write_one(1));
  std::vector<std::string> hidden;
  for (const auto& name : names_in(scratch / "store/job")) {
    if (name.starts_with(".") && name != ".lock") hidden.push_back(name);
  }
  EXPECT_EQ(hidden, std::vector<std::string>{});
}

}  // namespace
}  // namespace crs::store
