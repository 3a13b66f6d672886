// SPDX-License-Identifier: Apache-2.0
#include "os/file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace crs {
namespace {

TEST(PwriteAll, IsNotForEverWhereNothingIsTaken) {
  std::array<std::byte, 16> data{};
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) pause();
  }
  auto memory = open_file("/proc/" + std::to_string(child) + "/mem", O_RDWR);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(memory);
  const auto at = reinterpret_cast<std::uint64_t>(&data);
  const auto written = pwrite_all(memory->get(), data, at, "its memory");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().to_string().find("its memory"), std::string::npos);
  EXPECT_FALSE(pread_exact(memory->get(), data, at, "its memory"));
}

}  // namespace
}  // namespace crs
