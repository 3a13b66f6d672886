// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <sys/stat.h>

#include <set>
#include <thread>

#include "store/testing.h"

namespace crs::store {
namespace {

using testing::check;
using testing::Scratch;
using testing::write_small;

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::open(scratch_ / "store", true);
    ASSERT_OK(store);
    store_ = std::make_unique<Store>(std::move(*store));
  }
  Result<std::string> write(const std::string& job) {
    CRS_TRY(auto writer, store_->begin(job, {}));
    return write_small(writer, 1);
  }
  std::vector<std::uint64_t> numbers(const std::string& job) {
    std::vector<std::uint64_t> all;
    for (const auto& each : store_->generations(job).value_or(std::vector<Generation>{}))
      all.push_back(each.number);
    return all;
  }
  Scratch scratch_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, NumbersGenerationsInTheOrderOfTheirCommit) {
  for (int i = 1; i <= 3; ++i) ASSERT_OK(write("job"));
  EXPECT_EQ(numbers("job"), (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(*store_->resolve("job"), store_->path() + "/job/000003");
  EXPECT_EQ(*store_->resolve("job@2"), store_->path() + "/job/000002");
  EXPECT_EQ(*store_->resolve(store_->path() + "/job/000001"), store_->path() + "/job/000001");
  EXPECT_GT(store_->generations("job")->at(0).bytes, 4096u);
}

TEST_F(StoreTest, ShowsNoJobWithoutSnapshots) {
  { ASSERT_OK(store_->begin("given-up", {})); }
  ASSERT_OK(write("done"));
  EXPECT_EQ(*store_->jobs(), std::vector<std::string>{"done"});
  EXPECT_EQ(store_->resolve("given-up").error().code(), Errc::not_found);
}

TEST_F(StoreTest, GivesWritersAtOnceDifferentNumbers) {
  std::vector<std::jthread> writers;
  for (int i = 0; i < 8; ++i) {
    writers.emplace_back([&] {
      for (int k = 0; k < 32; ++k) EXPECT_TRUE(testing::is_ok(write("job")));
    });
  }
  writers.clear();
  EXPECT_EQ(numbers("job").size(), 256u);
  const auto generations = store_->generations("job");
  ASSERT_OK(generations);
  for (const auto& each : *generations) ASSERT_OK(check(each.path));
}

TEST_F(StoreTest, RemovesAGeneration) {
  for (int i = 1; i <= 2; ++i) ASSERT_OK(write("job"));
  ASSERT_OK(store_->remove(store_->generations("job")->front()));
  EXPECT_EQ(numbers("job"), std::vector<std::uint64_t>{2});
  ASSERT_OK(write("job"));
  EXPECT_EQ(numbers("job"), (std::vector<std::uint64_t>{2, 3}));
  const auto gone = store_->remove({"job", 1, store_->path() + "/job/000001", 0});
  EXPECT_EQ(gone.error().code(), Errc::not_found);
}

TEST_F(StoreTest, CountsOnlyItsOwnNames) {
  ASSERT_OK(write("job"));
  for (const char* name :
       {"7", "0000009", "00000a", ".000008.partial.1", "999999999999999999999", "000000"}) {
    mkdir((store_->path() + "/job/" + name).c_str(), 0700);
  }
  EXPECT_EQ(numbers("job"), std::vector<std::uint64_t>{1});
  ASSERT_OK(write("job"));
  EXPECT_EQ(numbers("job"), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_FALSE(std::filesystem::exists(store_->path() + "/job/.000008.partial.1"));  // its writer is dead
}

TEST_F(StoreTest, SaysWhatThereIsWhenSomethingIsMissing) {
  ASSERT_OK(write("simulation"));
  const auto wrong = store_->resolve("simulatoin");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Errc::not_found);
  EXPECT_NE(wrong.error().message().find(store_->path()), std::string::npos);
  EXPECT_NE(wrong.error().hint().find("simulation"), std::string::npos);
  EXPECT_EQ(store_->resolve("simulation@9").error().code(), Errc::not_found);
  EXPECT_EQ(store_->resolve("simulation@x").error().code(), Errc::usage);
  EXPECT_EQ(store_->resolve("/no/where").error().code(), Errc::not_found);
  EXPECT_EQ(store_->resolve("").error().code(), Errc::usage);
  EXPECT_EQ(Store::open(scratch_ / "nothing", false).error().code(), Errc::not_found);
}

TEST_F(StoreTest, IsNoPlaceWhereOthersMayWrite) {
  ASSERT_OK(write("job"));
  chmod((store_->path() + "/job").c_str(), 0777);
  EXPECT_EQ(write("job").error().code(), Errc::permission);
  chmod(store_->path().c_str(), 0777);
  EXPECT_EQ(Store::open(store_->path(), true).error().code(), Errc::permission);
}

TEST(JobName, IsOnePlainPathComponent) {
  for (const char* name : {"a", "A-b_c.d+1", "python3-4711", "0"})
    EXPECT_TRUE(Store::valid_job_name(name)) << name;
  for (const char* name : {"", ".", "..", ".a", "a/b", "a b", "a@1", "a\n", "\xc3\xa4", "a:b", "~"}) {
    EXPECT_FALSE(Store::valid_job_name(name)) << name;
  }
  EXPECT_FALSE(Store::valid_job_name(std::string_view("a\0b", 3)));
  EXPECT_FALSE(Store::valid_job_name(std::string(256, 'a')));
}

TEST(DefaultStore, FollowsTheEnvironment) {
  // In a process of its own would be cleaner; these three are put back.
  const auto keep = [](const char* name) {
    const char* value = getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string store = keep("CRS_STORE"), state = keep("XDG_STATE_HOME"), home = keep("HOME");
  setenv("CRS_STORE", "/a", 1);
  setenv("XDG_STATE_HOME", "/b", 1);
  setenv("HOME", "/c", 1);
  EXPECT_EQ(Store::default_path(), "/a");
  unsetenv("CRS_STORE");
  EXPECT_EQ(Store::default_path(), "/b/crs");
  setenv("XDG_STATE_HOME", "relative", 1);  // to be ignored, says the XDG specification
  EXPECT_EQ(Store::default_path(), "/c/.local/state/crs");
  unsetenv("XDG_STATE_HOME");
  EXPECT_EQ(Store::default_path(), "/c/.local/state/crs");
  if (!store.empty()) setenv("CRS_STORE", store.c_str(), 1);
  if (!state.empty()) setenv("XDG_STATE_HOME", state.c_str(), 1);
  if (!home.empty()) setenv("HOME", home.c_str(), 1);
}

}  // namespace
}  // namespace crs::store
