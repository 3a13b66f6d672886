// SPDX-License-Identifier: Apache-2.0
// A driver for fuzzers where libFuzzer is not at hand: runs files, then mutations of what it has seen.
//
// usage: fuzz_x [-runs=N] [FILE...]
// No coverage guides it; it finds what a few thousand careless changes find, the same ones every time.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

void mutate(std::string& input, std::mt19937& dice) {
  const auto pick = [&](std::size_t below) {
    return std::uniform_int_distribution<std::size_t>(0, below - 1)(dice);
  };
  for (std::size_t changes = 1 + pick(8); changes > 0; --changes) {
    const std::size_t at = input.empty() ? 0 : pick(input.size());
    switch (pick(4)) {
      case 0: input.insert(at, 1, static_cast<char>(pick(256))); break;
      case 1: input.erase(at, 1 + pick(4)); break;
      case 2: input.insert(at, input.substr(at, 1 + pick(32))); break;
      default:
        if (!input.empty()) input[at] = static_cast<char>(pick(256));
    }
  }
  if (input.size() > 4096) input.resize(4096);
}

}  // namespace

int main(int argc, char** argv) {
  long runs = 1000;
  std::vector<std::string> seen = {""};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("-runs=")) {
      runs = std::strtol(argv[i] + 6, nullptr, 10);
      continue;
    }
    std::ifstream file(argv[i], std::ios::binary);
    seen.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(seen.back());
  }
  std::mt19937 dice(1);
  for (long i = 0; i < runs; ++i) {
    std::string input = seen[std::uniform_int_distribution<std::size_t>(0, seen.size() - 1)(dice)];
    mutate(input, dice);
    run(input);
    if (seen.size() < 1000) seen.push_back(std::move(input));
  }
  std::printf("%ld inputs\n", runs);
}
