// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_rewind.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "engine/address_space.h"
#include "engine/page_saver.h"

namespace crs {

using state::Mapping;

namespace {

constexpr int madv_dontneed_locked = 24;          // since Linux 5.18; MADV_DONTNEED refuses locked memory
constexpr std::uint64_t piece = 1u << 20;         // bytes that are read together
constexpr std::uint64_t large_piece = 16u << 20;  // of memory whose pagemap is

constexpr std::uint64_t entry_present = 1ull << 63;
constexpr std::uint64_t entry_frame = (1ull << 55) - 1;  // 0 for those who may not see it

std::string label(const Mapping& mapping) {
  return "memory at " + to_string(RemoteAddr(mapping.start())) +
         (mapping.name().empty() ? "" : " (" + mapping.name() + ")");
}

Error in_the_way(const Mapping& mapping, const std::string& what) {
  return Error(Errc::unsupported, label(mapping) + " " + what);
}

// What the mapping would be if it began at `address`, without its protection.
std::string nature(const state::MemoryMap& map, const Mapping& mapping, std::uint64_t address) {
  Mapping plain;
  plain.set_type(mapping.type());
  plain.set_flags(mapping.flags());
  if (mapping.type() == Mapping::PRIVATE_FILE || mapping.type() == Mapping::SHARED_FILE) {
    const auto& file = map.files(static_cast<int>(mapping.index()));
    plain.set_name(file.path() + '\0' + std::to_string(file.inode()));
    plain.set_offset(mapping.offset() + (address - mapping.start()));
  } else if (mapping.type() == Mapping::VDSO || mapping.name() == "/dev/zero") {
    plain.set_name(mapping.name());
    plain.set_start(mapping.start());
  }
  return plain.SerializeAsString();
}

bool has_guards(const Mapping& mapping, std::uint64_t start, std::uint64_t end) {
  for (int i = 0; i < mapping.guards_size(); i += 2) {
    if (mapping.guards(i) < end && start < mapping.guards(i + 1)) return true;
  }
  return false;
}

// Those of `mapping` within [start, end).
std::vector<PageRange> guards_of(const Mapping& mapping, std::uint64_t start, std::uint64_t end) {
  std::vector<PageRange> all;
  for (int i = 0; i < mapping.guards_size(); i += 2)
    all.push_back({mapping.guards(i), mapping.guards(i + 1)});
  return within(all, start, end);
}

bool can_be_mapped_anew(const Mapping& mapping) {
  constexpr std::uint64_t harmless =
      mapping_dont_dump | mapping_huge_pages | mapping_no_huge_pages | mapping_no_reserve | mapping_may_write;
  return mapping.type() == Mapping::ANONYMOUS && !mapping.name().starts_with('/') &&
         (mapping.flags() & ~harmless) == 0;
}

// Walks a list of mappings in step with ascending addresses.
class Walker {
 public:
  explicit Walker(const google::protobuf::RepeatedPtrField<Mapping>& mappings) : mappings_(mappings) {}
  const Mapping* at(std::uint64_t address) {
    while (index_ < mappings_.size() && mappings_[index_].end() <= address) ++index_;
    return index_ < mappings_.size() && mappings_[index_].start() <= address ? &mappings_[index_] : nullptr;
  }

 private:
  const google::protobuf::RepeatedPtrField<Mapping>& mappings_;
  int index_ = 0;
};

}  // namespace

Result<MemoryRewind> MemoryRewind::plan(const state::MemoryMap& saved, const state::MemoryMap& now) {
  if (saved.objects_size() != 0 || now.objects_size() != 0)
    return Error(Errc::unsupported, "the process has shared anonymous memory");
  if (saved.future_locked() != now.future_locked() || saved.vdso() != now.vdso())
    return Error(Errc::unsupported, "the process has locked its memory since, or moved the vdso");
  MemoryRewind rewind;
  std::set<std::uint64_t> bounds;
  for (const auto* map : {&saved, &now}) {
    for (const Mapping& mapping : map->mappings()) {
      bounds.insert(mapping.start());
      bounds.insert(mapping.end());
    }
  }
  for (const Mapping& mapping : saved.mappings()) {
    if (MemoryKeeper::can_hold(mapping)) {
      append(rewind.held_, mapping.start(), mapping.end());
    } else if (mapping.has_content()) {
      return in_the_way(mapping, "is not for children, so that no keeper holds it");
    }
  }
  Walker was(saved.mappings()), is(now.mappings());
  const std::vector<std::uint64_t> all(bounds.begin(), bounds.end());
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    const std::uint64_t start = all[i], end = all[i + 1];
    const Mapping* const before = was.at(start);
    const Mapping* const after = is.at(start);
    if (before == nullptr && after == nullptr) continue;
    Step step{Step::Action::unmap, before != nullptr ? *before : Mapping()};
    step.mapping.set_start(start);
    step.mapping.set_end(end);
    step.mapping.clear_guards();
    if (before == nullptr) {
      if (after->type() == Mapping::VDSO) return in_the_way(*after, "is part of the vdso and was moved");
      rewind.steps_.push_back(std::move(step));
      continue;
    }
    const bool same = after != nullptr && nature(saved, *before, start) == nature(now, *after, start) &&
                      guards_of(*before, start, end) == guards_of(*after, start, end);
    if (same && before->protection() == after->protection()) continue;
    step.action = same ? Step::Action::protect : Step::Action::map;
    if (!same && (!can_be_mapped_anew(*before) || has_guards(*before, start, end) ||
                  (after != nullptr && after->type() == Mapping::VDSO)))
      return in_the_way(*before, "is not mapped any more as it was");
    rewind.steps_.push_back(std::move(step));
  }
  return rewind;
}

void MemoryRewind::queue_layout(CallBatch& batch) const {
  for (const Step& step : steps_) {
    const Mapping& mapping = step.mapping;
    const std::uint64_t size = mapping.end() - mapping.start();
    switch (step.action) {
      case Step::Action::unmap:
        batch.call("unmap " + label(mapping), SYS_munmap, RemoteAddr(mapping.start()), size);
        break;
      case Step::Action::protect:
        batch.call("protect " + label(mapping), SYS_mprotect, RemoteAddr(mapping.start()), size,
                   mapping.protection());
        break;
      case Step::Action::map: map_in_place(batch, mapping); break;
    }
  }
}

namespace {

std::vector<PageRange> cut_to_pieces(const std::vector<PageRange>& ranges, std::uint64_t size) {
  std::vector<PageRange> pieces;
  for (const PageRange& range : ranges) {
    for (std::uint64_t at = range.start; at < range.end; at += size)
      pieces.push_back({at, std::min(at + size, range.end)});
  }
  return pieces;
}

// Pages of both that are not the same, of one piece.
class Comparison {
 public:
  Comparison(const FrozenProcess& process, const MemoryKeeper& keeper) : process_(process), keeper_(keeper) {}

  Status open() {
    CRS_TRY(ours_, process_.proc().open_entry("pagemap", O_RDONLY));
    CRS_TRY(kept_, keeper_.proc().open_entry("pagemap", O_RDONLY));
    return ok();
  }

  // What one thread needs for it, touched once.
  struct Room {
    std::vector<std::uint64_t> now_entries, then_entries;
    Bytes now, then;
  };

  Result<std::vector<PageRange>> run(PageRange range, Room& room) const {
    const std::size_t count = (range.end - range.start) / page_size;
    const auto read = [&](const OwnedFd& pagemap, std::vector<std::uint64_t>& entries) {
      entries.resize(count);
      return pread_exact(pagemap.get(), std::as_writable_bytes(std::span(entries)),
                         range.start / page_size * sizeof(std::uint64_t), "pagemap");
    };
    CRS_CHECK(read(ours_, room.now_entries));
    CRS_CHECK(read(kept_, room.then_entries));
    std::vector<PageRange> different, unknown;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t at = range.start + i * page_size;
      const std::uint64_t now = room.now_entries[i], then = room.then_entries[i];
      const bool both = (now & then & entry_present) != 0;
      const std::uint64_t a = now & entry_frame, b = then & entry_frame;
      if (both && (a == 0 || b == 0)) {
        append(unknown, at, at + page_size);
      } else if (!both || a != b) {
        append(different, at, at + page_size);
      }
    }
    if (unknown.empty()) return different;
    CRS_TRY(const auto compared, by_content(cut_to_pieces(unknown, piece), room));
    std::vector<PageRange> all;
    std::ranges::merge(different, compared, std::back_inserter(all), {}, &PageRange::start,
                       &PageRange::start);
    return all;
  }

 private:
  Result<std::vector<PageRange>> by_content(const std::vector<PageRange>& ranges, Room& room) const {
    std::vector<PageRange> different;
    room.now.resize(piece);
    room.then.resize(piece);
    for (const PageRange& range : ranges) {
      const std::span now(room.now.data(), range.end - range.start);
      const std::span then(room.then.data(), now.size());
      CRS_CHECK(process_.read_memory(RemoteAddr(range.start), now));
      CRS_CHECK(keeper_.read(range.start, then));
      for (std::size_t at = 0; at < now.size(); at += page_size) {
        if (std::memcmp(now.data() + at, then.data() + at, page_size) != 0)
          append(different, range.start + at, range.start + at + page_size);
      }
    }
    return different;
  }

  const FrozenProcess& process_;
  const MemoryKeeper& keeper_;
  OwnedFd ours_, kept_;
};

}  // namespace

Result<MemoryRewind::Difference> MemoryRewind::compare(const FrozenProcess& process,
                                                       const MemoryKeeper& keeper, unsigned workers) const {
  CRS_TRY(const PageScanner scanner, PageScanner::open(process.proc()));
  Difference result;
  std::vector<PageRange> both;
  for (const PageRange& range : held_) {
    CRS_TRY(const auto now, scanner.own_pages(range.start, range.end));
    CRS_TRY(const auto then, keeper.own_pages(range.start, range.end));
    const auto join = [](std::vector<PageRange>& all, const std::vector<PageRange>& more) {
      for (const PageRange& each : more) append(all, each.start, each.end);
    };
    join(result.dropped, without(now, then));
    join(result.written, without(then, now));
    join(both, common(now, then));
  }
  Comparison comparison(process, keeper);
  CRS_CHECK(comparison.open());
  const auto pieces = cut_to_pieces(both, large_piece);
  std::vector<std::vector<PageRange>> different(pieces.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failure;
  const auto work = [&] {
    Comparison::Room room;
    for (std::size_t i = next++; i < pieces.size(); i = next++) {
      auto found = comparison.run(pieces[i], room);
      if (found) {
        different[i] = std::move(*found);
        continue;
      }
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::move(found).error();
      next = pieces.size();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < worker_count(workers); ++i) threads.emplace_back(work);
    work();
  }
  if (failure) return std::move(*failure);
  for (const auto& each : different) result.written.insert(result.written.end(), each.begin(), each.end());
  std::ranges::sort(result.written, {}, &PageRange::start);
  CRS_CHECK(keeper.check());
  return result;
}

void MemoryRewind::queue_drops(std::span<const PageRange> dropped, CallBatch& batch) {
  for (const PageRange& range : dropped) {
    batch.call("drop memory at " + to_string(RemoteAddr(range.start)), SYS_madvise, RemoteAddr(range.start),
               range.end - range.start, madv_dontneed_locked);
  }
}

Status MemoryRewind::write(const Difference& difference, const MemoryKeeper& keeper, int memory) {
  Bytes bytes;
  for (const PageRange& range : cut_to_pieces(difference.written, piece)) {
    bytes.resize(range.end - range.start);
    CRS_CHECK(keeper.read(range.start, bytes));
    CRS_CHECK(pwrite_all(memory, bytes, range.start, "the process's memory"));
  }
  return keeper.check();
}

}  // namespace crs
