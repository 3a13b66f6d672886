// SPDX-License-Identifier: Apache-2.0
#include "engine/vdso.h"

#include <gtest/gtest.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "os/proc.h"

namespace crs {
namespace {

std::span<const std::byte> own_vdso() {
  const auto self = ProcDir::open(Pid(getpid()));
  const auto vmas = self->maps();
  const auto vdso = std::ranges::find(*vmas, "[vdso]", &Vma::name);
  if (vdso == vmas->end()) return {};
  return {reinterpret_cast<const std::byte*>(vdso->start), vdso->size()};
}

// Copies the image to executable memory and gives the address of one of its functions.
template <class Function>
Function* callable(const Bytes& image, const std::string& name) {
  void* const at =
      mmap(nullptr, image.size(), PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  std::memcpy(at, image.data(), image.size());
  const auto functions = functions_of_vdso(image);
  return reinterpret_cast<Function*>(static_cast<std::byte*>(at) + functions->at(name).offset);
}

void replace_all(Bytes& image, std::string_view from, std::string_view to) {
  ASSERT_EQ(from.size(), to.size());
  auto* const text = reinterpret_cast<char*>(image.data());
  for (std::size_t i = 0; i + from.size() <= image.size(); ++i) {
    if (std::memcmp(text + i, from.data(), from.size()) == 0) std::memcpy(text + i, to.data(), to.size());
  }
}

using ClockGettime = int(clockid_t, timespec*);
using Getrandom = long(void*, std::size_t, unsigned, void*, std::size_t);

bool is_now(const timespec& seen) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec - seen.tv_sec <= 1 && now.tv_sec >= seen.tv_sec;
}

TEST(Vdso, ItsFunctionsAreFound) {
  const auto functions = functions_of_vdso(own_vdso());
  ASSERT_TRUE(functions);
  for (const char* name : {"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"}) {
    ASSERT_TRUE(functions->contains(name)) << name;
    EXPECT_NE(functions->at(name).offset, 0u);
  }
}

TEST(Vdso, RedirectedFunctionsAreThoseOfTheKernel) {
  const auto own = own_vdso();
  const auto image = redirect_vdso(own, own, reinterpret_cast<std::uint64_t>(own.data()));
  ASSERT_TRUE(image);
  auto* const function = callable<ClockGettime>(*image, "__vdso_clock_gettime");
  ASSERT_NE(function, nullptr);
  timespec seen{};
  EXPECT_EQ(function(CLOCK_MONOTONIC, &seen), 0);
  EXPECT_TRUE(is_now(seen));
}

TEST(Vdso, WhatTheKernelLacksIsASystemCall) {
  const auto own = own_vdso();
  Bytes older(own.begin(), own.end());
  replace_all(older, "clock_gettime", "clock_unknown");  // what runs now has no such function
  const auto image = redirect_vdso(own, older, reinterpret_cast<std::uint64_t>(own.data()));
  ASSERT_TRUE(image);
  auto* const function = callable<ClockGettime>(*image, "__vdso_clock_gettime");
  timespec seen{};
  EXPECT_EQ(function(CLOCK_MONOTONIC, &seen), 0);
  EXPECT_TRUE(is_now(seen));
  EXPECT_EQ(function(-4711, &seen), -EINVAL);
}

TEST(Vdso, WhatNobodyHasIsNamed) {
  const auto own = own_vdso();
  Bytes newer(own.begin(), own.end());
  replace_all(newer, "clock_gettime", "clock_unknown");
  const auto image = redirect_vdso(newer, own, 0x10000);
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find("clock_unknown"), std::string::npos);
}

TEST(Vdso, RandomnessIsASystemCall) {
  const auto own = own_vdso();
  const auto functions = functions_of_vdso(own);
  if (!functions->contains("__vdso_getrandom"))
    GTEST_SKIP() << "this kernel's vdso has no getrandom (Linux 6.11)";
  const auto image = redirect_vdso(own, own, reinterpret_cast<std::uint64_t>(own.data()));
  ASSERT_TRUE(image);
  auto* const function = callable<Getrandom>(*image, "__vdso_getrandom");
  unsigned char bytes[64] = {};
  EXPECT_EQ(function(bytes, sizeof bytes, 0, nullptr, 144), static_cast<long>(sizeof bytes));
  EXPECT_TRUE(std::ranges::any_of(bytes, [](unsigned char byte) { return byte != 0; }));
  EXPECT_EQ(function(nullptr, 0, 0, bytes, ~std::size_t{0}), -ENOSYS);
}

TEST(Vdso, DamagedImagesAreRefused) {
  const auto own = own_vdso();
  for (std::size_t size = 0; size < own.size(); size += 7) (void)functions_of_vdso(own.first(size));
  EXPECT_FALSE(functions_of_vdso(own.first(100)));
  Bytes image(own.begin(), own.end());
  for (std::size_t i = 0; i < 2048; ++i) {
    const std::byte before = image[i];
    for (const unsigned value : {0x00u, 0xffu, 0x80u}) {
      image[i] = static_cast<std::byte>(value);
      (void)redirect_vdso(image, own, 0x10000);  // whatever it says, it reads nothing outside
    }
    image[i] = before;
  }
}

}  // namespace
}  // namespace crs
