#include "os/proc.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace crs {
namespace {

TEST(ProcStat, CommMayHoldBlanksAndParentheses) {
  const auto stat = parse_stat("42 (a) b (c) S 1 42 42 0 -1 4194304 100 0\n");
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->comm, "a) b (c");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->field(1), 42u);
  EXPECT_EQ(stat->field(4), 1u);
  EXPECT_EQ(stat->field(8), ~std::uint64_t{0});  // tpgid -1
}

TEST(Maps, ReadsEveryField) {
  const auto vmas = parse_maps(
      "7f0000000000-7f0000002000 rw-s 00001000 fe:01 77                 /tmp/a b\\012c (deleted)\n");
  ASSERT_TRUE(vmas.has_value());
  ASSERT_EQ(vmas->size(), 1u);
  const Vma& vma = vmas->front();
  EXPECT_EQ(vma.size(), 0x2000u);
  EXPECT_TRUE(vma.read && vma.write && vma.shared && !vma.execute);
  EXPECT_EQ(vma.offset, 0x1000u);
  EXPECT_EQ(vma.device_major, 0xfeu);
  EXPECT_EQ(vma.inode, 77u);
  EXPECT_EQ(vma.name, "/tmp/a b\nc (deleted)");
}

TEST(Maps, RefusesNonsense) {
  EXPECT_FALSE(parse_maps("hello\n").has_value());
}

TEST(ProcDir, ReadsOurselves) {
  const auto self = ProcDir::open(Pid(getpid()));
  ASSERT_TRUE(self.has_value());
  EXPECT_TRUE(self->maps().has_value());
  EXPECT_EQ(self->stat()->field(1), static_cast<std::uint64_t>(getpid()));
  EXPECT_EQ(self->status()->number("Tgid"), static_cast<std::uint64_t>(getpid()));
}

TEST(ProcDir, NamesWhatIsMissing) {
  const auto none = ProcDir::open(Pid(0x3fffff));
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code(), Errc::not_found);
}

}  // namespace
}  // namespace crs
