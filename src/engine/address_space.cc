// SPDX-License-Identifier: Apache-2.0
#include "engine/address_space.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "engine/page_filler.h"
#include "engine/page_scan.h"
#include "os/proc.h"

namespace crs {

using state::Mapping;

namespace {

constexpr int madv_guard_install = 102;  // since Linux 6.13
constexpr int map_droppable = 0x08;      // since Linux 6.11

std::uint64_t size_of(const Mapping& mapping) {
  return mapping.end() - mapping.start();
}
bool has(const Mapping& mapping, MappingFlag flag) {
  return (mapping.flags() & flag) != 0;
}

int map_flags(const Mapping& mapping) {
  const bool shared = mapping.type() == Mapping::SHARED_FILE || mapping.type() == Mapping::SHARED_OBJECT;
  // MAP_DROPPABLE is a type of its own, like MAP_PRIVATE, and brings three pieces of advice with it.
  int flags = shared ? MAP_SHARED : has(mapping, mapping_droppable) ? map_droppable : MAP_PRIVATE;
  if (mapping.type() == Mapping::ANONYMOUS && mapping.name() != "/dev/zero") flags |= MAP_ANONYMOUS;
  if (has(mapping, mapping_no_reserve)) flags |= MAP_NORESERVE;
  if (has(mapping, mapping_grows_down)) flags |= MAP_GROWSDOWN;
  return flags;
}

// What madvise(2) was told, to be told again.
std::vector<int> advice_of(const Mapping& mapping) {
  constexpr std::pair<MappingFlag, int> table[] = {
      {mapping_dont_fork, MADV_DONTFORK},       {mapping_dont_dump, MADV_DONTDUMP},
      {mapping_wipe_on_fork, MADV_WIPEONFORK},  {mapping_huge_pages, MADV_HUGEPAGE},
      {mapping_no_huge_pages, MADV_NOHUGEPAGE}, {mapping_mergeable, MADV_MERGEABLE},
      {mapping_sequential, MADV_SEQUENTIAL},    {mapping_random, MADV_RANDOM}};
  std::vector<int> advice;
  for (const auto& [flag, value] : table) {
    if (has(mapping, flag)) advice.push_back(value);
  }
  return advice;
}

std::byte* pointer(std::uint64_t address) {
  return reinterpret_cast<std::byte*>(address);
}

Status map_at(std::uint64_t at, std::uint64_t size, int protection, int flags, int fd, std::uint64_t offset,
              const std::string& what) {
  void* const got = mmap(pointer(at), size, protection, flags | MAP_FIXED, fd, static_cast<off_t>(offset));
  if (got == MAP_FAILED) return Error::from_errno(errno, "map " + what);
  return ok();
}

std::string label(const Mapping& mapping) {
  return to_string(RemoteAddr(mapping.start())) + (mapping.name().empty() ? "" : " (" + mapping.name() + ")");
}

}  // namespace

Status AddressSpace::plan() {
  area_ = StagingArea::lay_out(map_.map());
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const auto own, self.maps());
  std::vector<PageRange> taken;
  for (const Vma& vma : own) taken.push_back({vma.start, vma.end});
  const auto room = area_.find_room(map_.map(), taken);
  if (!room) {
    return Error(Errc::refused, "the program's memory is spread so widely that no room is left to prepare it")
        .with_hint("programs that use more than half of the address space cannot be restored yet");
  }
  hole_ = *room;
  return ok();
}

namespace {

// Once the mapping stands and the descriptor is closed, the mapping holds it.
Status take_lock(const state::MappedFile& file, int fd) {
  if (file.lock() == state::MappedFile::NONE) return ok();
  const int operation = file.lock() == state::MappedFile::EXCLUSIVE ? LOCK_EX : LOCK_SH;
  if (flock(fd, operation | LOCK_NB) == 0) return ok();
  if (errno == EWOULDBLOCK) {
    return Error(Errc::busy, "the program held a lock on " + file.path() + ", and somebody else holds it now")
        .with_hint("end that process, or wait until it gives the lock up");
  }
  return Error::from_errno(errno, "lock " + file.path());
}

}  // namespace

Status AddressSpace::fill(const store::SnapshotReader& snapshot, DeletedFiles& deleted_files,
                          const std::optional<MemoryKeeper>& keeper, unsigned workers,
                          Deadline deadline) const {
  CRS_CHECK(map_at(hole_, StagingArea::landing_size, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "landing"));
  std::map<std::pair<std::uint32_t, bool>, OwnedFd> files;  // by index, and whether for writing
  std::set<std::uint32_t> locked;
  OwnedFd zero;
  std::vector<FillTarget> targets, kept;
  for (std::size_t i = 0; i < area_.object_places.size(); ++i) {
    const auto& object = map_.map().objects(static_cast<int>(i));
    const std::uint64_t size = object.size();
    OwnedFd file;
    if (object.has_memory_file()) {
      file = OwnedFd(memfd_create(object.memory_file().c_str(), MFD_CLOEXEC));
      if (!file || ftruncate(file.get(), static_cast<off_t>(size)) != 0)
        return Error::from_errno(errno, "make the memory file " + object.memory_file());
    }
    const bool reserves = std::ranges::none_of(map_.map().mappings(), [i](const Mapping& mapping) {
      return mapping.type() == Mapping::SHARED_OBJECT && mapping.index() == i &&
             has(mapping, mapping_no_reserve);
    });
    CRS_CHECK(map_at(object_place(i), size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | (file ? 0 : MAP_ANONYMOUS) | (reserves ? 0 : MAP_NORESERVE), file.get(), 0,
                     "shared memory"));
    targets.push_back({static_cast<std::uint32_t>(i + 1), 0, size, pointer(object_place(i))});
  }
  for (std::size_t i = 0; i < area_.places.size(); ++i) {
    const Mapping& mapping = map_.map().mappings(static_cast<int>(i));
    if (!is_staged(i)) continue;
    const std::uint64_t at = place(i);
    if (mapping.type() == Mapping::SHARED_OBJECT) {
      const std::uint64_t from = object_place(mapping.index()) + mapping.offset();
      if (mremap(pointer(from), 0, size_of(mapping), MREMAP_MAYMOVE | MREMAP_FIXED, pointer(at)) ==
          MAP_FAILED) {
        return Error::from_errno(errno, "map shared memory at " + label(mapping));
      }
    } else {
      int fd = -1;
      if (mapping.type() == Mapping::ANONYMOUS && mapping.name() == "/dev/zero") {
        if (!zero) {
          CRS_TRY(zero, open_file("/dev/zero", O_RDWR));
        }
        fd = zero.get();
      } else if (mapping.type() != Mapping::ANONYMOUS) {
        const auto& file = map_.map().files(static_cast<int>(mapping.index()));
        const bool writes = mapping.type() == Mapping::SHARED_FILE && has(mapping, mapping_may_write);
        OwnedFd& opened = files[{mapping.index(), writes}];
        if (!opened) {
          std::string path = file.path();
          if (file.deleted_file() != 0) {
            CRS_TRY(const int made, deleted_files.make(snapshot, file.deleted_file() - 1));
            path = "/proc/self/fd/" + std::to_string(made);
          }
          CRS_TRY(opened, open_file(path, writes ? O_RDWR : O_RDONLY));
          if (locked.insert(mapping.index()).second) CRS_CHECK(take_lock(file, opened.get()));
        }
        fd = opened.get();
      }
      const int protection =
          static_cast<int>(mapping.protection()) | (is_filled(mapping) ? PROT_READ | PROT_WRITE : 0);
      CRS_CHECK(
          map_at(at, size_of(mapping), protection, map_flags(mapping), fd, mapping.offset(), label(mapping)));
      if (is_redirected_vdso(mapping)) {
        std::memcpy(pointer(at), map_.map().vdso().data(), map_.map().vdso().size());
      } else if (is_filled(mapping)) {
        targets.push_back({0, mapping.start(), mapping.end(), pointer(at)});
        if (MemoryKeeper::can_hold(mapping)) kept.push_back(targets.back());
      }
    }
    if (has(mapping, mapping_huge_pages)) madvise(pointer(at), size_of(mapping), MADV_HUGEPAGE);
  }
  std::ranges::sort(targets, {},
                    [](const FillTarget& target) { return std::pair(target.space, target.start); });
  if (snapshot.has_pages()) CRS_CHECK(fill_pages(snapshot.pages(), targets, workers, deadline));
  if (keeper) CRS_CHECK(keeper->fill(kept, workers, deadline));

  for (std::size_t i = 0; i < area_.places.size(); ++i) {
    const Mapping& mapping = map_.map().mappings(static_cast<int>(i));
    if (!is_staged(i)) continue;
    std::byte* const at = pointer(place(i));
    for (const int advice : advice_of(mapping)) {
      if (madvise(at, size_of(mapping), advice) != 0 && advice != MADV_MERGEABLE && advice != MADV_HUGEPAGE) {
        return Error::from_errno(errno, "advise memory at " + label(mapping));
      }
    }
    for (int guard = 0; guard < mapping.guards_size(); guard += 2) {
      std::byte* const start = at + (mapping.guards(guard) - mapping.start());
      if (madvise(start, mapping.guards(guard + 1) - mapping.guards(guard), madv_guard_install) != 0) {
        return Error::from_errno(errno, "guard memory at " + label(mapping));
      }
    }
    // Only now: a page of a mapping without access cannot be locked in.
    if (has(mapping, mapping_locked)) {
      const unsigned flags = has(mapping, mapping_lock_on_fault) ? 1u /* MLOCK_ONFAULT */ : 0u;
      if (syscall(SYS_mlock2, at, size_of(mapping), flags) != 0 && errno != ENOMEM) {
        return Error::from_errno(errno, "lock memory at " + label(mapping));
      }
    }
    if (is_filled(mapping) || mapping.type() == Mapping::SHARED_OBJECT) {
      if (mprotect(at, size_of(mapping), static_cast<int>(mapping.protection())) != 0) {
        return Error::from_errno(errno, "protect memory at " + label(mapping));
      }
    }
  }
  return ok();
}

bool AddressSpace::is_redirected_vdso(const Mapping& mapping) const {
  return mapping.start() == map_.redirected_vdso();
}

bool AddressSpace::is_filled(const Mapping& mapping) const {
  return mapping.has_content() || is_redirected_vdso(mapping);
}

void map_in_place(CallBatch& batch, const Mapping& mapping) {
  batch.call("map " + label(mapping), SYS_mmap, RemoteAddr(mapping.start()), size_of(mapping),
             static_cast<int>(mapping.protection()), map_flags(mapping) | MAP_FIXED, -1, 0);
  for (const int advice : advice_of(mapping)) {
    batch.try_call(SYS_madvise, RemoteAddr(mapping.start()), size_of(mapping), advice);
  }
  for (int guard = 0; guard < mapping.guards_size(); guard += 2) {
    batch.call("guard " + label(mapping), SYS_madvise, RemoteAddr(mapping.guards(guard)),
               mapping.guards(guard + 1) - mapping.guards(guard), madv_guard_install);
  }
}

Status AddressSpace::rebuild(CallBatch& batch, std::span<const Vma> now) const {
  const std::uint64_t hole_end = hole_ + area_.size;
  std::vector<const Vma*> own_vdso;
  for (const Vma& vma : now) {
    if (vma.start >= hole_ && vma.end <= hole_end) continue;
    if (vma.name == "[vsyscall]") continue;
    if (vma.name.starts_with("[v")) {
      own_vdso.push_back(&vma);
      continue;
    }
    batch.call("unmap the restorer", SYS_munmap, RemoteAddr(vma.start), vma.size());
  }

  std::vector<const Mapping*> saved_vdso;
  for (const Mapping& mapping : map_.map().mappings()) {
    if (mapping.type() == Mapping::VDSO) saved_vdso.push_back(&mapping);
  }
  // The block goes over the landing's own tail first: its old and its new place may overlap.
  const std::uint64_t shelter = hole_ + StagingArea::landing_size / 2;
  if (!own_vdso.empty()) {
    const std::uint64_t base = own_vdso.front()->start;
    const auto move = [&](std::uint64_t from, std::uint64_t size, std::uint64_t to) {
      batch.call("move the vdso", SYS_mremap, RemoteAddr(from), size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
                 RemoteAddr(to));
    };
    for (const Vma* vma : own_vdso) {
      if (saved_vdso.empty()) {
        batch.call("unmap the vdso", SYS_munmap, RemoteAddr(vma->start), vma->size());
      } else {
        move(vma->start, vma->size(), shelter + (vma->start - base));
      }
    }
    if (!saved_vdso.empty()) {
      // By name: programs may have moved or unmapped some of them.
      for (const Vma* vma : own_vdso) {
        const auto same = std::ranges::find_if(saved_vdso, [&](const Mapping* mapping) {
          return mapping->name() == vma->name && size_of(*mapping) == vma->size();
        });
        const std::uint64_t at = shelter + (vma->start - base);
        if (same != saved_vdso.end()) {
          move(at, vma->size(), (*same)->start());
        } else {
          batch.call("unmap the vdso", SYS_munmap, RemoteAddr(at), vma->size());
        }
      }
    }
  }

  for (std::size_t i = 0; i < area_.places.size(); ++i) {
    const Mapping& mapping = map_.map().mappings(static_cast<int>(i));
    if (mapping.type() == Mapping::VDSO) continue;
    if (is_staged(i)) {
      batch.call("move " + label(mapping), SYS_mremap, RemoteAddr(place(i)), size_of(mapping),
                 size_of(mapping), MREMAP_MAYMOVE | MREMAP_FIXED, RemoteAddr(mapping.start()));
      continue;
    }
    map_in_place(batch, mapping);
  }
  return ok();
}

void AddressSpace::finish(CallBatch& batch) const {
  if (map_.map().future_locked()) batch.try_call(SYS_mlockall, MCL_FUTURE);
}

}  // namespace crs
