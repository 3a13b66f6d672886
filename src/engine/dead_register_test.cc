// SPDX-License-Identifier: Apache-2.0
#include "engine/dead_register.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace crs {
namespace {

constexpr std::uint64_t base = 0x400000;

constexpr int in_rdx = 2, in_r10 = 3;

bool dead(const std::vector<std::uint8_t>& code, int argument = in_r10) {
  return argument_is_dead_at(
      argument, RemoteAddr(base), [&](RemoteAddr from, std::span<std::byte> out) -> Status {
        const std::uint64_t offset = from.v - base;
        if (from.v < base || offset + out.size() > code.size()) return Error(Errc::kernel, "not mapped");
        std::ranges::copy(std::as_bytes(std::span(code).subspan(offset, out.size())), out.begin());
        return ok();
      });
}

TEST(DeadRegister, ReturnAndCallEndIt) {
  EXPECT_TRUE(dead({0xc3}));
  EXPECT_TRUE(dead({0xe8, 0, 0, 0, 0}));
  EXPECT_TRUE(dead({0xff, 0x15, 0, 0, 0, 0}));  // call *0(%rip)
}

TEST(DeadRegister, WrapperOfTheCLibrary) {
  EXPECT_TRUE(dead({0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff,        // cmp $-4096,%rax
                    0x77, 0x01,                                // ja
                    0xc3,                                      // ret
                    0x48, 0x8b, 0x15, 0x81, 0x9e, 0x0c, 0x00,  // mov 0xc9e81(%rip),%rdx
                    0xf7, 0xd8,                                // neg %eax
                    0x64, 0x89, 0x02,                          // mov %eax,%fs:(%rdx)
                    0xb8, 0xff, 0xff, 0xff, 0xff,              // mov $-1,%eax
                    0xc3}));                                   // ret
  EXPECT_TRUE(dead({0x44, 0x89, 0xc7,                          // mov %r8d,%edi
                    0x89, 0x44, 0x24, 0x0c,                    // mov %eax,0xc(%rsp)
                    0xe8, 0x56, 0xc9, 0xf7, 0xff}));           // call
}

TEST(DeadRegister, WrapperOfGo) {
  EXPECT_TRUE(dead({0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff,        // cmp $-4095,%rax
                    0x76, 0x15,                                // jbe ok
                    0x48, 0xf7, 0xd8,                          // neg %rax
                    0x48, 0x89, 0xc1,                          // mov %rax,%rcx
                    0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff,  // mov $-1,%rax
                    0x48, 0xc7, 0xc3, 0x00, 0x00, 0x00, 0x00,  // mov $0,%rbx
                    0xc3,                                      // ret
                    0x48, 0x89, 0xd3,                          // ok: mov %rdx,%rbx
                    0x31, 0xc9,                                // xor %ecx,%ecx
                    0xc3}));                                   // ret
}

TEST(DeadRegister, AnyWordAboutItKeepsItAlive) {
  EXPECT_FALSE(dead({0x4c, 0x89, 0xd0, 0xc3}));                    // mov %r10,%rax
  EXPECT_FALSE(dead({0x45, 0x85, 0xd2, 0xc3}));                    // test %r10d,%r10d
  EXPECT_FALSE(dead({0x41, 0x52, 0xc3}));                          // push %r10
  EXPECT_FALSE(dead({0x49, 0x8b, 0x02, 0xc3}));                    // mov (%r10),%rax
  EXPECT_FALSE(dead({0x4a, 0x8b, 0x04, 0x10, 0xc3}));              // mov (%rax,%r10,1),%rax
  EXPECT_FALSE(dead({0x4b, 0x8d, 0x04, 0x12, 0xc3}));              // lea (%r10,%r10,1),%rax
  EXPECT_FALSE(dead({0x41, 0xff, 0xd2}));                          // call *%r10
  EXPECT_FALSE(dead({0x74, 0x01, 0xc3, 0x4c, 0x89, 0xd0, 0xc3}));  // je; ret; mov %r10,%rax
  EXPECT_FALSE(dead({0x0f, 0x05, 0xc3}));                          // syscall, whose argument it may be
}

TEST(DeadRegister, GivesUpAtWhatItDoesNotKnow) {
  EXPECT_FALSE(dead({0xc5, 0xf8, 0x77, 0xc3}));  // vzeroupper
  EXPECT_FALSE(dead({0xff, 0xe0}));              // jmp *%rax
  EXPECT_FALSE(dead({0x48, 0x89}));              // the mapping ends
  EXPECT_FALSE(dead({}));
  EXPECT_TRUE(dead({0x74, 0xfe, 0xc3}));  // a loop is walked once
}

TEST(DeadRegister, AnArgumentOfTheNextCallIsAlive) {
  EXPECT_FALSE(
      dead({0xe8, 0x01, 0, 0, 0, 0xc3, 0x48, 0x89, 0xd0, 0xc3}, in_rdx));          // call; ret; mov %rdx,%rax
  EXPECT_TRUE(dead({0xe8, 0x01, 0, 0, 0, 0xc3, 0x48, 0x89, 0xc8, 0xc3}, in_rdx));  // mov %rcx,%rax
  EXPECT_FALSE(dead({0xff, 0x15, 0, 0, 0, 0, 0xc3}, in_rdx));                      // call *0(%rip)
  EXPECT_FALSE(dead({0xe8, 0x04, 0, 0, 0, 0x48, 0x89, 0xd0, 0xc3, 0xc3}, in_rdx));  // looked at afterwards
}

TEST(DeadRegister, WhatOverwritesItEndsIt) {
  const auto behind = [&](const std::vector<std::uint8_t>& code) {
    const std::vector<std::uint8_t> looks = {0x48, 0x89, 0xd0, 0xc3};  // mov %rdx,%rax
    std::vector<std::uint8_t> all(code.size() + looks.size());
    std::ranges::copy(code, all.begin());
    std::ranges::copy(looks, all.end() - static_cast<std::ptrdiff_t>(looks.size()));
    return dead(all, in_rdx);
  };
  EXPECT_FALSE(behind({}));
  EXPECT_TRUE(behind({0x48, 0x8b, 0x15, 0, 0, 0, 0}));   // mov 0(%rip),%rdx
  EXPECT_TRUE(behind({0x48, 0x8b, 0x54, 0x24, 0x08}));   // mov 8(%rsp),%rdx
  EXPECT_TRUE(behind({0x48, 0x89, 0xca}));               // mov %rcx,%rdx
  EXPECT_TRUE(behind({0xba, 1, 0, 0, 0}));               // mov $1,%edx
  EXPECT_TRUE(behind({0x31, 0xd2}));                     // xor %edx,%edx
  EXPECT_TRUE(behind({0x48, 0x8d, 0x50, 0x01}));         // lea 1(%rax),%rdx
  EXPECT_TRUE(behind({0x5a}));                           // pop %rdx
  EXPECT_TRUE(behind({0x0f, 0xb6, 0x13}));               // movzbl (%rbx),%edx
  EXPECT_TRUE(behind({0x48, 0xc7, 0xc2, 1, 0, 0, 0}));   // mov $1,%rdx
  EXPECT_FALSE(behind({0x48, 0x8b, 0x12}));              // mov (%rdx),%rdx
  EXPECT_FALSE(behind({0x48, 0x8b, 0x14, 0x10}));        // mov (%rax,%rdx,1),%rdx
  EXPECT_FALSE(behind({0x66, 0xba, 1, 0}));              // mov $1,%dx
  EXPECT_FALSE(behind({0xb2, 1}));                       // mov $1,%dl
  EXPECT_FALSE(behind({0x8a, 0x13}));                    // mov (%rbx),%dl
  EXPECT_FALSE(behind({0x31, 0xc2}));                    // xor %eax,%edx
  EXPECT_FALSE(behind({0x48, 0x01, 0xc2}));              // add %rax,%rdx
  EXPECT_FALSE(behind({0x48, 0xf7, 0xf1}));              // div %rcx
  EXPECT_FALSE(behind({0x48, 0x0f, 0x44, 0xd0}));        // cmove %rax,%rdx
  EXPECT_FALSE(behind({0x48, 0x89, 0x10}));              // mov %rdx,(%rax)
  EXPECT_FALSE(behind({0x89, 0x0a}));                    // mov %ecx,(%rdx)
  EXPECT_FALSE(dead({0x88, 0xf0, 0xc3}, in_rdx));        // mov %dh,%al
  EXPECT_TRUE(dead({0x40, 0x88, 0xf0, 0xc3}, in_rdx));   // mov %sil,%al
  EXPECT_TRUE(dead({0x89, 0xf0, 0xc3}, in_rdx));         // mov %esi,%eax
  EXPECT_FALSE(dead({0x0f, 0xb6, 0xc6, 0xc3}, in_rdx));  // movzbl %dh,%eax
  EXPECT_FALSE(dead({0x52, 0xc3}, in_rdx));              // push %rdx
}

TEST(DeadRegister, OtherRegistersAreNotMistakenForIt) {
  EXPECT_TRUE(dead({0x48, 0x89, 0xd0, 0xc3}));              // mov %rdx,%rax
  EXPECT_TRUE(dead({0x41, 0x89, 0xd0, 0xc3}));              // mov %edx,%r8d
  EXPECT_TRUE(dead({0x44, 0x89, 0xc2, 0xc3}));              // mov %r8d,%edx
  EXPECT_TRUE(dead({0x4c, 0x8b, 0x44, 0x24, 0x08, 0xc3}));  // mov 8(%rsp),%r8
}

}  // namespace
}  // namespace crs
