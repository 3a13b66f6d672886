// SPDX-License-Identifier: Apache-2.0
// patterns: what the memory of a measured program looks like.
//
// What this file knows
//   random  nothing compresses it: the worst case for size
//   text    words: compresses about fourfold, as program heaps do
//   sparse  one page in sixteen is written, the rest was never touched
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace bench {

inline constexpr std::size_t page_size = 4096;

inline std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

inline void fill_random(unsigned char* to, std::size_t size, std::uint64_t& state) {
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    const std::uint64_t value = next_random(state);
    std::memcpy(to + i, &value, sizeof value);
  }
}

inline void fill_text(unsigned char* to, std::size_t size, std::uint64_t& state) {
  static constexpr std::string_view words[] = {
      "memory ",  "kernel ", "page ",  "the ",  "process ", "of ",    "thread ",  "and ",
      "restore ", "signal ", "value ", "with ", "pointer ", "12345 ", "0.98765 ", "\n"};
  std::size_t at = 0;
  while (at < size) {
    std::uint64_t dice = next_random(state);
    for (int i = 0; i < 16 && at < size; ++i, dice >>= 4) {
      const auto word = words[dice & 15];
      const std::size_t length = word.size() < size - at ? word.size() : size - at;
      std::memcpy(to + at, word.data(), length);
      at += length;
    }
  }
}

// Private anonymous memory of `size` bytes in ordinary pages, filled. Ends the program when there is none.
inline unsigned char* make_memory(std::size_t size, std::string_view pattern) {
  void* mapped =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  madvise(mapped, size, MADV_NOHUGEPAGE);  // the same on every machine, whatever its default
  auto* memory = static_cast<unsigned char*>(mapped);
  std::uint64_t state = 1;
  if (pattern == "random") {
    fill_random(memory, size, state);
  } else if (pattern == "text") {
    fill_text(memory, size, state);
  } else if (pattern == "sparse") {
    for (std::size_t at = 0; at < size; at += 16 * page_size) fill_random(memory + at, page_size, state);
  } else {
    std::fprintf(stderr, "no pattern '%.*s'\n", static_cast<int>(pattern.size()), pattern.data());
    std::exit(2);
  }
  return memory;
}

}  // namespace bench
