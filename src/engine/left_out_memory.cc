// SPDX-License-Identifier: Apache-2.0
#include "engine/left_out_memory.h"

#include <algorithm>
#include <utility>

#include "engine/interrupted_code.h"
#include "engine/signal_frame.h"
#include "engine/thread_table.h"

namespace crs {
namespace {

constexpr std::uint64_t red_zone = 128;
constexpr std::uint64_t deepest_stack = 8u << 20;  // what the kernel gives a program by default
constexpr std::uint64_t most_static_tls = 64u << 10;
constexpr std::uint64_t largest_descriptor = 8u << 10;  // the C library's, with its rseq area

std::vector<PageRange> ranges_of(const std::vector<MemoryWish>& wishes, MemoryUse use) {
  std::vector<PageRange> ranges;
  for (const MemoryWish& wish : wishes) {
    if (wish.use == use) ranges.push_back({wish.start, wish.end});
  }
  return united(std::move(ranges));
}

const PageRange* find(const std::vector<PageRange>& set, std::uint64_t at) {
  const auto found = std::ranges::upper_bound(set, at, {}, &PageRange::end);
  return found != set.end() && found->start <= at ? &*found : nullptr;
}

// How much of a set lies in any of many ranges, each in logarithmic time.
class Measure {
 public:
  explicit Measure(const std::vector<PageRange>& set) : set_(set) {
    for (const PageRange& range : set) sums_.push_back(sums_.back() + (range.end - range.start));
  }
  std::uint64_t bytes(std::uint64_t start, std::uint64_t end) const {
    return start < end ? below(end) - below(start) : 0;
  }

 private:
  std::uint64_t below(std::uint64_t at) const {
    const auto next = std::ranges::upper_bound(set_, at, {}, &PageRange::end);
    const auto index = static_cast<std::size_t>(next - set_.begin());
    return sums_[index] + (next != set_.end() && next->start < at ? at - next->start : 0);
  }
  const std::vector<PageRange>& set_;
  std::vector<std::uint64_t> sums_{0};
};

// Where handlers that run on the alternate stack, from `from` on, have left the stacks that they interrupted.
void add_interrupted_stacks(const FrozenProcess& target, std::uint64_t from, AddressRange stack,
                            const std::string& whose, std::vector<LeftOutMemory::Need>& needs) {
  constexpr std::uint64_t word = 8, most = 1u << 20;
  from = (from + word - 1) & ~(word - 1);
  Bytes content(std::min(stack.end - from, most));
  if (!target.read_memory(RemoteAddr(from), content)) return;
  for (std::size_t at = 0; at + signal_frame_head <= content.size(); at += word) {
    const auto frame = read_signal_frame(std::span(content).subspan(at));
    if (frame && !stack.contains(frame->stack_pointer))
      needs.push_back({frame->stack_pointer, red_zone, deepest_stack, whose});
  }
}

}  // namespace

std::vector<LeftOutMemory::Need> LeftOutMemory::needs_of(const FrozenProcess& target,
                                                         const ThreadTable& threads) {
  std::vector<Need> needs;
  for (std::size_t i = 0; i < target.threads().size(); ++i) {
    const FrozenThread& thread = target.threads()[i];
    const std::string whose = "thread " + to_string(thread.ns_tid);
    const std::uint64_t stack_pointer = thread.registers.rsp;
    needs.push_back({stack_pointer, red_zone, deepest_stack, whose});
    if (const AddressRange stack = threads.alternate_stack(i); stack.contains(stack_pointer))
      add_interrupted_stacks(target, stack_pointer, stack, whose, needs);
    needs.push_back({thread.registers.fs_base, most_static_tls, largest_descriptor, ""});
    if (thread.registers.gs_base != 0) needs.push_back({thread.registers.gs_base, 0, largest_descriptor, ""});
    for (const std::uint64_t address : threads.known_to_kernel(i)) {
      if (address != 0) needs.push_back({address, 0, page_size, ""});
    }
  }
  return needs;
}

LeftOutMemory::LeftOutMemory(const MemoryOptions& options, std::vector<MemoryWish> wishes,
                             std::vector<Need> needs)
    : skip_dontdump_(options.skip_dontdump),
      wishes_(std::move(wishes)),
      needs_(std::move(needs)),
      excluded_(whole_pages(ranges_of(wishes_, MemoryUse::exclude))) {
  std::ranges::sort(needs_, {}, &Need::at);
  std::vector<PageRange> included = ranges_of(wishes_, MemoryUse::include);
  for (const Need& need : needs_) {
    // Only where what is needed lies in something that is excluded: an array on a stack, or thread-local, may
    // be excluded, however near to it that is.
    const PageRange* const all = find(excluded_, need.at);
    if (all == nullptr) continue;
    const std::uint64_t below = std::min(need.below, need.at - all->start);
    const PageRange kept{need.at - below, need.at + std::min(need.above, all->end - need.at)};
    included.push_back(kept);
    if (need.whose.empty()) continue;
    const auto wish = std::ranges::find_if(wishes_, [&](const MemoryWish& each) {
      return each.use == MemoryUse::exclude && each.start <= need.at && need.at < each.end;
    });
    notes_.push_back("memory that the program excluded" +
                     (wish != wishes_.end() ? " as '" + wish->label + "'" : std::string()) +
                     " holds a stack that " + need.whose + " uses, which is saved");
  }
  included_ = touched_pages(std::move(included));
}

bool LeftOutMemory::holds_a_need(std::uint64_t start, std::uint64_t end) const {
  const auto first = std::ranges::lower_bound(needs_, start, {}, &Need::at);
  return first != needs_.end() && first->at < end;
}

// Whether all of the mapping is left out that is not included.
bool LeftOutMemory::takes(const Vma& vma, bool is_dontdump) {
  if (!skip_dontdump_ || !is_dontdump) return false;
  if (holds_a_need(vma.start, vma.end)) {
    notes_.push_back("memory " + to_string(RemoteAddr(vma.start)) + "-" + to_string(RemoteAddr(vma.end)) +
                     " is saved although MADV_DONTDUMP was given for it: a thread's stack or thread-local "
                     "storage is in it");
    return false;
  }
  mappings_.push_back({vma.start, vma.end});
  names_.push_back(vma.name);
  return true;
}

std::vector<PageRange> LeftOutMemory::saved_of(const Vma& vma, bool is_dontdump, std::vector<PageRange> own) {
  std::vector<PageRange> excluded = takes(vma, is_dontdump) ? std::vector<PageRange>{{vma.start, vma.end}}
                                                            : within(excluded_, vma.start, vma.end);
  if (excluded.empty()) return own;
  const std::vector<PageRange> included = within(included_, vma.start, vma.end);
  const std::vector<PageRange> wanted_out = common(own, excluded);
  const std::vector<PageRange> out = without(wanted_out, included);
  const std::vector<PageRange> kept = common(wanted_out, included);
  left_out_.insert(left_out_.end(), out.begin(), out.end());
  kept_.insert(kept_.end(), kept.begin(), kept.end());
  bytes_ += size_of(out);
  return without(own, out);
}

LeftOutMemory::View LeftOutMemory::view(const Vma& vma, bool is_dontdump) {
  View view{within(excluded_, vma.start, vma.end), within(included_, vma.start, vma.end)};
  if (takes(vma, is_dontdump)) view.excluded = {{vma.start, vma.end}};
  const auto kept = common(view.excluded, view.included);
  kept_.insert(kept_.end(), kept.begin(), kept.end());
  return view;
}

void LeftOutMemory::count_object(const std::vector<PageRange>& left_out, std::uint64_t bytes) {
  left_out_.insert(left_out_.end(), left_out.begin(), left_out.end());
  bytes_ += bytes;
}

void LeftOutMemory::tell(state::MemoryMap& map, Blockers& blockers) const {
  for (const std::string& note : notes_) blockers.note(note);
  map.set_left_out_bytes(bytes_);
  const std::vector<PageRange> left_out = united(left_out_), kept = united(kept_);
  const Measure of_left_out(left_out), of_kept(kept);
  const auto add = [&](state::LeftOut::Reason reason, const std::string& label, std::uint64_t start,
                       std::uint64_t end, std::uint64_t bytes) -> state::LeftOut& {
    auto& row = *map.add_left_out();
    row.set_reason(reason);
    row.set_label(label);
    row.set_start(start);
    row.set_end(end);
    row.set_bytes(bytes);
    return row;
  };
  for (const MemoryWish& wish : wishes_) {
    if (wish.use == MemoryUse::exclude) {
      add(state::LeftOut::EXCLUDED, wish.label, wish.start, wish.end, of_left_out.bytes(wish.start, wish.end))
          .set_rebuilt(wish.rebuilt);
    } else if (const std::uint64_t bytes = of_kept.bytes(page_down(wish.start), page_up(wish.end));
               bytes != 0) {
      add(state::LeftOut::INCLUDED, wish.label, wish.start, wish.end, bytes);
    }
  }
  for (std::size_t i = 0; i < mappings_.size(); ++i) {
    add(state::LeftOut::DONTDUMP, names_[i], mappings_[i].start, mappings_[i].end,
        of_left_out.bytes(mappings_[i].start, mappings_[i].end));
  }
}

}  // namespace crs
