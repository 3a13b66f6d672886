// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_rewind.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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
constexpr std::uint64_t entry_swapped = 1ull << 62;
constexpr std::uint64_t entry_file = 1ull << 61;
constexpr std::uint64_t entry_exclusive = 1ull << 56;
constexpr std::uint64_t entry_guard = 1ull << 58;        // since Linux 6.15
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

// All that is not the kernel's own choice. That huge pages are welcome or not cannot be taken back, and is a
// hint.
std::vector<int> advice_for(const Mapping& mapping) {
  const auto has = [&](MappingFlag flag) { return (mapping.flags() & flag) != 0; };
  std::vector<int> advice{has(mapping_dont_fork) ? MADV_DONTFORK : MADV_DOFORK,
                          has(mapping_dont_dump) ? MADV_DONTDUMP : MADV_DODUMP,
                          has(mapping_mergeable) ? MADV_MERGEABLE : MADV_UNMERGEABLE};
  advice.push_back(has(mapping_sequential) ? MADV_SEQUENTIAL
                   : has(mapping_random)   ? MADV_RANDOM
                                           : MADV_NORMAL);
  if (mapping.type() == Mapping::ANONYMOUS)
    advice.push_back(has(mapping_wipe_on_fork) ? MADV_WIPEONFORK : MADV_KEEPONFORK);
  if (has(mapping_huge_pages)) advice.push_back(MADV_HUGEPAGE);
  if (has(mapping_no_huge_pages)) advice.push_back(MADV_NOHUGEPAGE);
  return advice;
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
    if ((mapping.flags() & mapping_locked) != 0) return in_the_way(mapping, "is locked");
    if (mapping.type() != Mapping::VDSO) rewind.advised_.push_back(mapping);
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
  for (const Mapping& mapping : advised_) {
    for (const int advice : advice_for(mapping))
      batch.try_call(SYS_madvise, RemoteAddr(mapping.start()), mapping.end() - mapping.start(), advice);
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

// What differs in one piece.
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

  Result<MemoryRewind::Difference> run(PageRange range, Room& room) const {
    const std::size_t count = (range.end - range.start) / page_size;
    const auto read = [&](const OwnedFd& pagemap, std::vector<std::uint64_t>& entries) {
      entries.resize(count);
      return pread_exact(pagemap.get(), std::as_writable_bytes(std::span(entries)),
                         range.start / page_size * sizeof(std::uint64_t), "pagemap");
    };
    CRS_CHECK(read(ours_, room.now_entries));
    CRS_CHECK(read(kept_, room.then_entries));
    MemoryRewind::Difference found;
    std::vector<PageRange> unknown;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t at = range.start + i * page_size;
      const std::uint64_t now = room.now_entries[i], then = room.then_entries[i];
      if (!is_own(then)) {
        if (is_own(now)) append(found.dropped, at, at + page_size);
        continue;
      }
      const bool both_present = (now & then & entry_present) != 0 && is_own(now);
      const std::uint64_t a = now & entry_frame, b = then & entry_frame;
      // A page that the kernel moves between the two looks is told by its being somebody's alone.
      const bool shared = ((now | then) & entry_exclusive) == 0;
      if (both_present && (a == 0 || b == 0)) {
        append(unknown, at, at + page_size);
      } else if (!both_present || a != b || !shared) {
        append(found.written, at, at + page_size);
      }
    }
    if (unknown.empty()) return found;
    CRS_TRY(const auto compared, by_content(cut_to_pieces(unknown, piece), room));
    std::vector<PageRange> all;
    std::ranges::merge(found.written, compared, std::back_inserter(all), {}, &PageRange::start,
                       &PageRange::start);
    found.written = std::move(all);
    return found;
  }

 private:
  static bool is_own(std::uint64_t entry) {
    return (entry & (entry_present | entry_swapped)) != 0 && (entry & (entry_file | entry_guard)) == 0;
  }

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
  std::vector<PageRange> populated;
  for (const PageRange& range : held_) {
    CRS_TRY(auto now, scanner.populated_pages(range.start, range.end));
    CRS_TRY(const auto then, keeper.populated_pages(range.start, range.end));
    now.insert(now.end(), then.begin(), then.end());
    for (const PageRange& each : united(std::move(now))) append(populated, each.start, each.end);
  }
  Comparison comparison(process, keeper);
  CRS_CHECK(comparison.open());
  const auto pieces = cut_to_pieces(populated, large_piece);
  std::vector<Difference> found(pieces.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::optional<Error> failure;
  const auto work = [&] {
    Comparison::Room room;
    for (std::size_t i = next++; i < pieces.size(); i = next++) {
      auto each = comparison.run(pieces[i], room);
      if (each) {
        found[i] = std::move(*each);
        continue;
      }
      const std::scoped_lock lock(mutex);
      if (!failure) failure = std::move(each).error();
      next = pieces.size();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < worker_count(workers); ++i) threads.emplace_back(work);
    work();
  }
  if (failure) return std::move(*failure);
  Difference result;
  for (const Difference& each : found) {
    for (const PageRange& range : each.dropped) append(result.dropped, range.start, range.end);
    for (const PageRange& range : each.written) append(result.written, range.start, range.end);
  }
  CRS_CHECK(keeper.check());
  return result;
}

void MemoryRewind::queue_drops(std::span<const PageRange> dropped, CallBatch& batch) {
  for (const PageRange& range : dropped) {
    batch.call("drop memory at " + to_string(RemoteAddr(range.start)), SYS_madvise, RemoteAddr(range.start),
               range.end - range.start, madv_dontneed_locked);
  }
}

// Many scattered pages with few calls. What the process may not write itself goes by way of /proc/PID/mem.
Status MemoryRewind::write(const FrozenProcess& process, const Difference& difference,
                           const MemoryKeeper& keeper, int memory) {
  constexpr std::size_t most_at_once = 512;  // IOV_MAX is 1024
  const auto pieces = cut_to_pieces(difference.written, piece);
  Bytes bytes(piece);
  for (std::size_t from = 0; from < pieces.size();) {
    std::size_t size = 0, to = from;
    std::vector<iovec> places;
    for (; to < pieces.size() && places.size() < most_at_once; ++to) {
      const std::size_t more = pieces[to].end - pieces[to].start;
      if (size + more > bytes.size()) break;
      places.push_back({reinterpret_cast<void*>(pieces[to].start), more});  // NOLINT: an address over there
      size += more;
    }
    CRS_CHECK(keeper.read(places, std::span(bytes).first(size)));
    const iovec ours{bytes.data(), size};
    if (process_vm_writev(process.pid().v, &ours, 1, places.data(), places.size(), 0) !=
        static_cast<ssize_t>(size)) {
      std::size_t at = 0;
      for (std::size_t i = from; i < to; ++i) {
        const std::size_t more = pieces[i].end - pieces[i].start;
        CRS_CHECK(
            pwrite_all(memory, std::span(bytes).subspan(at, more), pieces[i].start, "the process's memory"));
        at += more;
      }
    }
    from = to;
  }
  return keeper.check();
}

}  // namespace crs
