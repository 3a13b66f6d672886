// SPDX-License-Identifier: Apache-2.0
#include "engine/file_content.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "os/owned_fd.h"

namespace crs {
namespace {

constexpr std::uint64_t whole_file = 2u << 20;

OwnedFd file_of(std::uint64_t size) {
  OwnedFd fd(memfd_create("content", MFD_CLOEXEC));
  const std::string bytes(size, 'o');
  EXPECT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(size));
  return fd;
}

void change(const OwnedFd& fd, std::uint64_t at) {
  EXPECT_EQ(pwrite(fd.get(), "N", 1, static_cast<off_t>(at)), 1);
}

state::FileContent content_of(const OwnedFd& fd, std::uint64_t size) {
  Allowance allowance;
  auto content = content_of_file(fd.get(), size, allowance);
  EXPECT_TRUE(check_content(content, size));
  return content;
}

TEST(FileContent, EachByteOfAShortFileCounts) {
  for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{5000}, whole_file}) {
    const OwnedFd fd = file_of(size);
    const auto content = content_of(fd, size);
    change(fd, size);  // behind its old end
    EXPECT_EQ(compare_content(content, fd.get()), Sameness::same) << size;
    change(fd, size / 2);
    EXPECT_EQ(compare_content(content, fd.get()), Sameness::changed) << size;
  }
}

TEST(FileContent, OfALongFileFirstAndLastPartCount) {
  constexpr std::uint64_t size = whole_file + 1;
  for (const std::uint64_t at : {std::uint64_t{0}, size - 1}) {
    const OwnedFd fd = file_of(size);
    const auto content = content_of(fd, size);
    change(fd, size / 2);
    EXPECT_EQ(compare_content(content, fd.get()), Sameness::similar);
    change(fd, at);
    EXPECT_EQ(compare_content(content, fd.get()), Sameness::changed) << at;
  }
}

TEST(FileContent, NothingIsKnownOfAnOlderSnapshotAndAllOfAnEmptyFile) {
  const OwnedFd fd = file_of(100);
  EXPECT_EQ(compare_content(state::FileContent(), fd.get()), Sameness::unknown);
  EXPECT_EQ(compare_content(content_of(fd, 0), fd.get()), Sameness::same);
}

TEST(FileContent, WithoutAllowanceTheEndsAreReadStill) {
  const OwnedFd fd = file_of(100'000);
  Allowance allowance{10};
  const auto content = content_of_file(fd.get(), 100'000, allowance);
  EXPECT_EQ(allowance.bytes, 10u);
  change(fd, 50'000);
  EXPECT_EQ(compare_content(content, fd.get()), Sameness::similar);
  change(fd, 99'999);
  EXPECT_EQ(compare_content(content, fd.get()), Sameness::changed);
}

TEST(FileContent, AProgramIsKnownByItsBuildId) {
  const OwnedFd self(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const auto size = static_cast<std::uint64_t>(lseek(self.get(), 0, SEEK_END));
  auto content = content_of_mapped_file(self.get(), size);
  EXPECT_EQ(compare_content(content, self.get()), Sameness::similar);
  if (content.build_id().empty()) GTEST_SKIP() << "the linker makes no build id here";
  content.mutable_build_id()->front() ^= 1;
  EXPECT_EQ(compare_content(content, self.get()), Sameness::changed);
}

TEST(FileContent, WhatCannotBeIsBadSnapshot) {
  const OwnedFd fd = file_of(100);
  for (int what = 0; what < 4; ++what) {
    auto content = content_of(fd, 100);
    auto& part = *content.mutable_parts(0);
    if (what == 0) part.set_offset(~std::uint64_t{0});
    if (what == 1) part.set_length(101);
    if (what == 2) part.set_length(50);  // "whole" is not true
    if (what == 3) part.set_checksum("short");
    EXPECT_FALSE(check_content(content, 100)) << what;
  }
}

}  // namespace
}  // namespace crs
