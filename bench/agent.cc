// SPDX-License-Identifier: Apache-2.0
// agent: what libcrs costs the program that it is in.
//
// usage: agent FOLDER
//
// What this file knows
//   It measures a pair of disable and enable: alone, inside of another section, and while a second thread
//   does the same; a loop of arithmetic and one of system calls, before the program joins and after; and
//   checkpoints of itself with 64 MiB of random memory to FOLDER, by component native and self: how long
//   until it is durable, and the longest time that a thread which only reads the clock stood still. Each
//   figure is the median of several rounds. Prints one JSON object.
#include <crs/crs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "patterns.h"

namespace {

constexpr int rounds = 9, saves = 5;
constexpr std::size_t memory_bytes = std::size_t{64} << 20;

std::uint64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

template <class T>
T median(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Nanoseconds that one of `count` takes.
double each(std::uint64_t count, const std::function<void(std::uint64_t)>& work) {
  std::vector<double> took;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t begun = now();
    work(count);
    took.push_back(static_cast<double>(now() - begun) / static_cast<double>(count));
  }
  return median(took);
}

void pairs(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    crs_disable_checkpoint();
    crs_enable_checkpoint();
  }
}

void arithmetic(std::uint64_t count) {
  std::uint64_t value = 1;
  for (std::uint64_t i = 0; i < count; ++i) {
    value = value * 6364136223846793005u + 1;
    asm volatile("" : "+r"(value));
  }
}

void system_calls(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) syscall(SYS_getppid);
}

std::atomic<std::uint64_t> longest_gap{0};
std::atomic<bool> ending{false};

void watch_the_clock() {
  for (std::uint64_t last = now(); !ending.load();) {
    const std::uint64_t next = now();
    if (next - last > longest_gap.load()) longest_gap.store(next - last);
    last = next;
  }
}

struct Save {
  std::uint64_t total_ns = 0, gap_ns = 0;
};

bool save_itself(const char* component, const std::string& folder, Save& result) {
  std::vector<std::uint64_t> totals, gaps;
  for (int i = 0; i < saves; ++i) {
    crs_snapshot* snapshot = nullptr;
    crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
    crs_state state = CRS_NONE;
    options.component = component;
    if (crs_snapshot_create(&snapshot) != CRS_SUCCESS ||
        crs_snapshot_set_directory(snapshot, (folder + "/" + component + std::to_string(i)).c_str()) !=
            CRS_SUCCESS)
      return false;
    longest_gap.store(0);
    const std::uint64_t begun = now();
    const int saved = crs_checkpoint(0, snapshot, &options, &state);
    totals.push_back(now() - begun);
    gaps.push_back(longest_gap.load());
    crs_snapshot_free(snapshot);
    if (saved != CRS_SUCCESS || state != CRS_CONTINUE) return false;
  }
  result = {median(totals), median(gaps)};
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto* const memory = const_cast<unsigned char*>(bench::make_memory(memory_bytes, "random"));
  constexpr std::uint64_t many = 20'000'000, calls = 1'000'000, sections = 2'000'000;
  const double loop_alone = each(many, arithmetic), call_alone = each(calls, system_calls);
  if (crs_init() != CRS_SUCCESS || crs_self_protect("memory", memory, memory_bytes) != CRS_SUCCESS) return 3;
  const double loop_joined = each(many, arithmetic), call_joined = each(calls, system_calls);

  const double pair = each(sections, pairs);
  crs_disable_checkpoint();
  const double nested = each(sections, pairs);
  crs_enable_checkpoint();
  std::atomic<bool> enough{false};
  std::thread other([&enough] {
    while (!enough.load()) pairs(1000);
  });
  const double contended = each(sections, pairs);
  enough.store(true);
  other.join();

  Save native, self;
  std::thread clock(watch_the_clock);
  const bool saved = save_itself("native", argv[1], native) && save_itself("self", argv[1], self);
  ending.store(true);
  clock.join();
  if (!saved) {
    std::fprintf(stderr, "%s\n", crs_last_error()->message);
    return 4;
  }
  std::printf(
      "{\"pair_ns\": %.1f, \"nested_ns\": %.1f, \"two_threads_ns\": %.1f, \"loop_alone_ns\": %.2f, "
      "\"loop_joined_ns\": %.2f, \"call_alone_ns\": %.1f, \"call_joined_ns\": %.1f, \"native_total_ns\": "
      "%llu, "
      "\"native_gap_ns\": %llu, \"self_total_ns\": %llu, \"self_gap_ns\": %llu}\n",
      pair, nested, contended, loop_alone, loop_joined, call_alone, call_joined,
      static_cast<unsigned long long>(native.total_ns), static_cast<unsigned long long>(native.gap_ns),
      static_cast<unsigned long long>(self.total_ns), static_cast<unsigned long long>(self.gap_ns));
  return 0;
}
