// SPDX-License-Identifier: Apache-2.0
#include "engine/wait_notes.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

namespace crs {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;

TEST(WaitNotes, SaysWhatWasWritten) {
  for (const std::uint64_t call : {SYS_poll, SYS_futex, SYS_nanosleep, SYS_clock_nanosleep}) {
    const nanoseconds end = hours(24 * 365);
    const auto word = encode({call, end}, 77);
    ASSERT_TRUE(word);
    const auto note = decode(*word, 77);
    ASSERT_TRUE(note);
    EXPECT_EQ(note->call, call);
    ASSERT_TRUE(note->ends);
    EXPECT_GE(*note->ends, end);
    EXPECT_LE(*note->ends, end + nanoseconds(65536));
    EXPECT_EQ(encode(*note, 77), word);  // no matter how often
  }
}

TEST(WaitNotes, IsOfOneSleepAlone) {
  const auto word = encode({SYS_poll, std::chrono::seconds(5)}, 0xfffff);
  ASSERT_TRUE(word);
  EXPECT_TRUE(decode(*word, 0xfffff));
  EXPECT_TRUE(decode(*word, 0x3fffff));  // the low bits
  EXPECT_FALSE(decode(*word, 0xffffe));
  EXPECT_FALSE(decode(*word, 0));
}

TEST(WaitNotes, TheRegistersOwnValueIsNone) {
  constexpr std::uint64_t idle = 0xffff0ff0;
  EXPECT_FALSE(decode(idle, idle >> 2));
  EXPECT_FALSE(encode({SYS_poll, nanoseconds(1)}, idle >> 2));
}

TEST(WaitNotes, MayHaveNoEnd) {
  const auto none = encode({SYS_poll, std::nullopt}, 3);
  ASSERT_TRUE(none);
  EXPECT_FALSE(decode(*none, 3)->ends);
  const auto late = encode({SYS_poll, hours(24 * 365 * 50)}, 3);
  ASSERT_TRUE(late);
  EXPECT_FALSE(decode(*late, 3)->ends);
  EXPECT_FALSE(encode({SYS_read, std::nullopt}, 3));
}

}  // namespace
}  // namespace crs
