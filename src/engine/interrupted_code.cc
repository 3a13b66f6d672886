// SPDX-License-Identifier: Apache-2.0
#include "engine/interrupted_code.h"

#include <algorithm>
#include <set>
#include <vector>

#include "engine/signal_frame.h"

namespace crs {
namespace {

constexpr std::uint64_t word = 8;
constexpr std::uint64_t window = 1u << 20;
// No stack is deeper; the mapping that a stack lies in may be as large as a heap.
constexpr std::uint64_t deepest_stack = 64u << 20;

// From `from` to the end of the stack that it is in.
AddressRange stack_above(std::uint64_t from, std::span<const AddressRange> alternate_stacks,
                         const state::MemoryMap& map) {
  for (const AddressRange& stack : alternate_stacks) {
    if (stack.contains(from)) return {from, stack.end};
  }
  for (const auto& mapping : map.mappings()) {
    if (from >= mapping.start() && from < mapping.end())
      return {from, std::min(mapping.end(), from + deepest_stack)};
  }
  return {};
}

}  // namespace

Result<bool> handler_interrupted(AddressRange code, std::span<const std::uint64_t> stack_pointers,
                                 std::span<const AddressRange> alternate_stacks, const state::MemoryMap& map,
                                 SavedMemory& memory) {
  std::vector<std::uint64_t> left(stack_pointers.begin(), stack_pointers.end());
  std::set<std::uint64_t> seen;
  while (!left.empty()) {
    const std::uint64_t from = (left.back() + word - 1) & ~(word - 1);
    left.pop_back();
    if (!seen.insert(from).second) continue;
    const AddressRange stack = stack_above(from, alternate_stacks, map);
    const auto is_other_stack = [&](std::uint64_t at) {
      return std::ranges::any_of(alternate_stacks, [&](const AddressRange& other) {
        return other.contains(at) && !other.contains(from);
      });
    };
    for (std::uint64_t start = stack.start; start < stack.end; start += window) {
      const std::uint64_t bytes = std::min(window + signal_frame_head - word, stack.end - start);
      CRS_TRY(const Bytes content, memory.read(start, bytes));
      for (std::uint64_t at = 0; at + signal_frame_head <= bytes; at += word) {
        const auto frame = read_signal_frame(std::span(content).subspan(at));
        if (!frame || is_other_stack(start + at)) continue;
        if (code.contains(frame->instruction_pointer)) return true;
        left.push_back(frame->stack_pointer);
      }
    }
  }
  return false;
}

}  // namespace crs
