// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "engine/deleted_files.h"
#include "engine/file_content.h"
#include "engine/frozen_state.h"
#include "engine/left_out_memory.h"
#include "engine/mapped_locks.h"
#include "engine/memory_keeper.h"
#include "engine/obstacles.h"
#include "engine/other_processes.h"
#include "engine/page_scan.h"
#include "engine/staging_area.h"
#include "engine/vdso.h"

namespace crs {

using state::MappedFile;
using state::Mapping;

namespace {

constexpr std::uint64_t user_space_end = 0x7ffffffff000;

std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

struct FlagName {
  std::string_view name;
  MappingFlag flag;
};
constexpr FlagName flag_names[] = {
    {"gd", mapping_grows_down}, {"lo", mapping_locked},        {"lf", mapping_lock_on_fault},
    {"dc", mapping_dont_fork},  {"dd", mapping_dont_dump},     {"wf", mapping_wipe_on_fork},
    {"hg", mapping_huge_pages}, {"nh", mapping_no_huge_pages}, {"mg", mapping_mergeable},
    {"nr", mapping_no_reserve}, {"sr", mapping_sequential},    {"rr", mapping_random},
    {"mw", mapping_may_write},  {"dp", mapping_droppable},
};

struct Obstacle {
  std::string_view name;  // in VmFlags
  std::string_view reason;
  std::string_view remedy;
};
constexpr Obstacle obstacles[] = {
    {"ht", "huge pages of hugetlbfs cannot be saved yet", "use transparent huge pages (madvise) instead"},
    {"io", "memory of a device cannot be saved", "let the program release the device first"},
    {"pf", "memory of a device cannot be saved", "let the program release the device first"},
    {"um", "it is watched by a userfaultfd", "let the program unregister it first"},
    {"uw", "it is write-protected by a userfaultfd", "let the program unregister it first"},
    {"ui", "it is watched by a userfaultfd", "let the program unregister it first"},
    {"ss", "it is a shadow stack", "run the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off"},
    {"sl", "it is sealed (mseal(2))", "sealed memory cannot be put back yet"},
};

std::string name_of(const Vma& vma) {
  return "memory " + to_string(RemoteAddr(vma.start)) + "-" + to_string(RemoteAddr(vma.end)) +
         (vma.name.empty() ? std::string() : " (" + vma.name + ")");
}

// start -> the words behind "VmFlags:".
Result<std::map<std::uint64_t, std::string>> read_flags(const ProcDir& proc) {
  CRS_TRY(const std::string text, proc.read("smaps"));
  std::map<std::uint64_t, std::string> flags;
  std::uint64_t start = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t newline = std::min(text.find('\n', from), text.size());
    const std::string_view line = std::string_view(text).substr(from, newline - from);
    from = newline + 1;
    if (line.empty() || (line[0] >= 'A' && line[0] <= 'Z' && line[0] != 'V')) continue;
    const std::size_t dash = line.find('-');
    const std::size_t blank = line.find(' ');
    if (dash != std::string::npos && dash < blank && blank != std::string::npos) {
      if (const auto value = parse_number(line.substr(0, dash), 16)) start = *value;
    } else if (line.starts_with("VmFlags:")) {
      flags[start] = std::string(line.substr(8));
    }
  }
  return flags;
}

// Every word has two letters and a blank on either side.
bool has_word(std::string_view words, std::string_view word) {
  const std::size_t at = words.find(word);
  return at != std::string_view::npos && (at == 0 || words[at - 1] == ' ') &&
         (at + word.size() == words.size() || words[at + word.size()] == ' ');
}

class Collector {
 public:
  Collector(CollectContext& context, state::MemoryMap& map, std::vector<SourceRun>& contents,
            PageScanner scanner)
      : context_(context),
        target_(context.target),
        map_(map),
        contents_(contents),
        scanner_(std::move(scanner)) {}

  Status run() {
    if (context_.memory_detail != MemoryDetail::layout) {
      CRS_TRY(flags_, read_flags(target_.proc()));
    }
    CRS_TRY(locks_, find_mapped_locks(target_));
    map_.set_future_locked(target_.locks_future_mappings());
    if (target_.calls_were_unsafe()) {
      context_.blockers.note(
          "the program holds no code that system calls can safely be made through: had crs been killed in "
          "the few microseconds of two of them, the program would have crashed");
    }
    for (const Vma& vma : target_.vmas()) {
      if (vma.name == "[vsyscall]") continue;
      CRS_CHECK(add(vma).context([&] { return name_of(vma); }));
    }
    CRS_CHECK(save_objects());
    context_.left_out->tell(map_, context_.blockers);
    if (!StagingArea::lay_out(map_).will_find_room(map_)) {
      context_.blockers.add(
          "memory map",
          "it spreads so widely over the address space that a restart has no room to prepare it",
          "run the program without what reserves terabytes of shadow memory, such as ThreadSanitizer");
    }
    return ok();
  }

 private:
  struct View {
    const Vma* vma;
    std::uint32_t object;
    bool is_memory;
    bool is_dontdump;
  };

  Status add(const Vma& vma) {
    Mapping mapping;
    mapping.set_start(vma.start);
    mapping.set_end(vma.end);
    mapping.set_protection(static_cast<std::uint32_t>(vma.protection()));
    mapping.set_name(vma.name);
    const std::string& words = flags_[vma.start];
    if (vma.name.starts_with("[v")) {
      mapping.set_type(Mapping::VDSO);
      if (vma.name == "[vdso]") {
        Bytes code(vma.size());
        CRS_CHECK(target_.read_memory(RemoteAddr(vma.start), code));
        map_.set_vdso(code.data(), code.size());
      }
      *map_.add_mappings() = mapping;
      return ok();
    }
    for (const Obstacle& obstacle : obstacles) {
      if (has_word(words, obstacle.name)) {
        context_.blockers.add(name_of(vma), std::string(obstacle.reason), std::string(obstacle.remedy));
        return ok();
      }
    }
    std::uint64_t flags = 0;
    for (const FlagName& each : flag_names) {
      if (has_word(words, each.name)) flags |= each.flag;
    }
    mapping.set_flags(flags);
    CRS_TRY(const bool known, classify(vma, mapping));
    if (!known) return ok();
    *map_.add_mappings() = std::move(mapping);
    return ok();
  }

  // Sets type, index and offset, and notes what must be saved. false: a blocker was added instead.
  Result<bool> classify(const Vma& vma, Mapping& mapping) {
    const bool plain = vma.name.empty() || vma.name == "[heap]" || vma.name.starts_with("[stack") ||
                       vma.name.starts_with("[anon:");
    if (plain && !vma.shared) return add_own_pages(vma, mapping, Mapping::ANONYMOUS);
    if (vma.shared && (vma.name == "/dev/zero (deleted)" || vma.name.starts_with("[anon_shmem:") ||
                       vma.name == "/dev/zero")) {
      return add_object(vma, mapping);
    }
    if (vma.name.starts_with("/[aio]")) {
      return block(vma, "it belongs to asynchronous I/O (io_setup(2)), which cannot be saved yet",
                   "let the program end it (io_destroy) first");
    }
    if (vma.name.starts_with("/SYSV")) {
      return block(vma, "System V shared memory cannot be saved yet",
                   "let the program detach it (shmdt) first");
    }
    if (!vma.has_path()) {
      return block(vma, "this special mapping cannot be saved", "let the program give it up first");
    }
    if (vma.name == "/dev/zero") return add_own_pages(vma, mapping, Mapping::ANONYMOUS);
    return add_file(vma, mapping);
  }

  Result<bool> block(const Vma& vma, std::string reason, std::string remedy) {
    context_.blockers.add(name_of(vma), std::move(reason), std::move(remedy));
    return false;
  }

  Result<bool> add_own_pages(const Vma& vma, Mapping& mapping, Mapping::Type type) {
    mapping.set_type(type);
    if (context_.memory_detail == MemoryDetail::layout) {
      CRS_CHECK(add_guards(vma, mapping));
      return true;
    }
    if (context_.memory_detail == MemoryDetail::unkept && MemoryKeeper::can_hold(mapping)) {
      CRS_TRY(const bool any, scanner_.has_own_pages(vma.start, vma.end));
      mapping.set_has_content(any);
      CRS_CHECK(add_guards(vma, mapping));
      return true;
    }
    CRS_TRY(auto own, scanner_.own_pages(vma.start, vma.end));
    const auto saved = context_.left_out->saved_of(vma, is_dontdump(mapping), std::move(own));
    for (const PageRange& range : saved)
      contents_.push_back(
          {range.start, range.end - range.start, 0, range.start, type == Mapping::PRIVATE_FILE});
    mapping.set_has_content(!saved.empty());
    CRS_CHECK(add_guards(vma, mapping));
    return true;
  }

  static bool is_dontdump(const Mapping& mapping) { return (mapping.flags() & mapping_dont_dump) != 0; }

  Status add_guards(const Vma& vma, Mapping& mapping) const {
    CRS_TRY(const auto guards, scanner_.guard_pages(vma.start, vma.end));
    for (const PageRange& guard : guards) {
      mapping.add_guards(guard.start);
      mapping.add_guards(guard.end);
    }
    return ok();
  }

  Result<bool> add_file(const Vma& vma, Mapping& mapping) {
    struct stat status {};
    const bool found = stat(vma.name.c_str(), &status) == 0;
    if (found && (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode))) {
      return block(vma, "memory of a device cannot be saved", "let the program release the device first");
    }
    const bool same = found && status.st_ino == vma.inode && S_ISREG(status.st_mode);
    if (!same) return add_lost_file(vma, mapping);
    mapping.set_offset(vma.offset);
    mapping.set_index(file_index(vma.name, status, vma.shared && (mapping.flags() & mapping_may_write) != 0));
    if (!vma.shared) return add_own_pages(vma, mapping, Mapping::PRIVATE_FILE);
    add_shared_file(vma, mapping);
    CRS_CHECK(add_guards(vma, mapping));
    return true;
  }

  void add_shared_file(const Vma& vma, Mapping& mapping) {
    mapping.set_type(Mapping::SHARED_FILE);
    const bool is_saved = map_.files(static_cast<int>(mapping.index())).deleted_file() != 0;
    if (!is_saved && (vma.protection() & PROT_WRITE) != 0 && told_.insert(vma.name).second) {
      context_.blockers.note(
          vma.name +
          " is written through shared memory: what is written there after the checkpoint is "
          "not undone by a restart (crs checkpoint --term lets nothing be written)");
    }
    const auto lock = locks_.find(lock_place(vma));
    if (lock == locks_.end()) return;
    map_.mutable_files(static_cast<int>(mapping.index()))
        ->set_lock(lock->second ? MappedFile::EXCLUSIVE : MappedFile::SHARED);
  }

  // The file is not there any more, or another one is. One that the program has open is made again; of
  // another what is mapped is all there is.
  Result<bool> add_lost_file(const Vma& vma, Mapping& mapping) {
    struct stat status {};
    std::uint32_t flags = 0;
    CRS_TRY(const auto fd, find_descriptor(vma, status, flags));
    if (fd && status.st_nlink == 0) return add_deleted_file(vma, mapping, *fd, status, flags);
    const auto obstacle = find_obstacle(vma.name);
    if (vma.shared) {
      CRS_TRY(const bool ours, is_only_here(vma));
      if (ours) return add_object(vma, mapping);
      if (obstacle) return block(vma, obstacle->reason, obstacle->remedy);
      return block(vma, "the file behind this shared memory was deleted or replaced",
                   "such memory cannot be saved yet; put the file back under its name, or let the program "
                   "keep it open");
    }
    // Pages that were never written follow the file. Nobody can change a file that nobody has open for
    // writing.
    if (fd && (flags & O_ACCMODE) != O_RDONLY) {
      return block(
          vma, "the file behind it was deleted or replaced, and the program still has it open for writing",
          "such memory cannot be saved yet; let the program close the file");
    }
    mapping.set_type(Mapping::ANONYMOUS);
    const std::uint64_t readable = readable_bytes(vma);
    if (readable > 0) contents_.push_back({vma.start, readable, 0, vma.start, false});
    mapping.set_has_content(readable > 0);
    if (lost_.insert({vma.name, true}).second) {
      const std::string reason =
          obstacle ? ": " + obstacle->reason : " was deleted or replaced while the program uses it";
      context_.blockers.note(vma.name + reason + "; its pages are saved");
    }
    return true;
  }

  Result<bool> add_deleted_file(const Vma& vma, Mapping& mapping, RemoteFd fd, const struct stat& status,
                                std::uint32_t flags) {
    CRS_TRY(const auto index, context_.deleted_files->add(context_, fd, vma.name, status, flags));
    if (!index) return false;
    const std::uint32_t file =
        file_index(vma.name, status, vma.shared && (mapping.flags() & mapping_may_write) != 0);
    map_.mutable_files(static_cast<int>(file))->set_deleted_file(*index + 1);
    mapping.set_index(file);
    mapping.set_offset(vma.offset);
    if (!vma.shared) return add_own_pages(vma, mapping, Mapping::PRIVATE_FILE);
    add_shared_file(vma, mapping);
    CRS_CHECK(add_guards(vma, mapping));
    return true;
  }

  // A descriptor of the mapped file, one for writing if there is one.
  Result<std::optional<RemoteFd>> find_descriptor(const Vma& vma, struct stat& status,
                                                  std::uint32_t& flags) const {
    std::optional<RemoteFd> found;
    CRS_TRY(const auto fds, target_.proc().fds());
    for (const RemoteFd fd : fds) {
      const std::string number = std::to_string(fd.v);
      const auto link = target_.proc().read_link("fd/" + number);
      if (!link || *link != vma.name) continue;
      struct stat now {};
      if (fstatat(target_.proc().fd(), ("fd/" + number).c_str(), &now, 0) != 0 || now.st_ino != vma.inode)
        continue;
      CRS_TRY(const std::string info, target_.proc().read("fdinfo/" + number));
      const auto its =
          static_cast<std::uint32_t>(ProcFields::parse(info).number("flags", 8).value_or(O_RDWR));
      if ((its & O_PATH) != 0) continue;
      const bool writes = (its & O_ACCMODE) != O_RDONLY;
      if (found && !writes) continue;
      found = fd;
      status = now;
      flags = its;
      if (writes) break;
    }
    return found;
  }

  // Memory of a file that has no name and no descriptor is like shared anonymous memory: nothing but its
  // mappings leads to it. Whether it has a name elsewhere only root may ask; files in /dev/shm are not
  // linked.
  Result<bool> is_only_here(const Vma& vma) const {
    if (!vma.name.ends_with(" (deleted)") || readable_bytes(vma) != vma.size()) return false;
    char entry[64];
    snprintf(entry, sizeof entry, "map_files/%llx-%llx", static_cast<unsigned long long>(vma.start),
             static_cast<unsigned long long>(vma.end));
    struct stat status {};
    if (fstatat(target_.proc().fd(), entry, &status, 0) == 0)
      return S_ISREG(status.st_mode) && status.st_nlink == 0;
    return vma.name.starts_with("/dev/shm/") || vma.name.starts_with(memory_file_prefix);
  }

  // Pages behind the end of a file cannot be read: the readable ones come first.
  std::uint64_t readable_bytes(const Vma& vma) const {
    std::uint64_t low = 0, high = vma.size() / page_size;
    while (low < high) {
      const std::uint64_t middle = (low + high) / 2;
      std::byte probe{};
      if (target_.read_memory(RemoteAddr(vma.start + middle * page_size), std::span(&probe, 1))) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low * page_size;
  }

  std::uint32_t file_index(const std::string& path, const struct stat& status, bool written) {
    const auto [entry, fresh] = files_.insert({path, static_cast<std::uint32_t>(map_.files_size())});
    if (fresh) {
      auto& file = *map_.add_files();
      file.set_path(path);
      file.set_size(static_cast<std::uint64_t>(status.st_size));
      file.set_mtime_ns(nanoseconds(status.st_mtim));
      file.set_ctime_ns(nanoseconds(status.st_ctim));
      file.set_inode(status.st_ino);
    }
    if (written) map_.mutable_files(static_cast<int>(entry->second))->set_written(true);
    return entry->second;
  }

  Result<bool> add_object(const Vma& vma, Mapping& mapping) {
    CRS_TRY(const auto guards, scanner_.guard_pages(vma.start, vma.end));
    if (!guards.empty()) {
      return block(vma, "this shared memory has guard regions (MADV_GUARD_INSTALL)",
                   "such memory cannot be saved yet; let the program remove them");
    }
    // mremap(2) lets a mapping grow, but not what is behind it.
    std::byte probe{};
    if (!target_.read_memory(RemoteAddr(vma.end - page_size), std::span(&probe, 1))) {
      return block(vma, "it reaches beyond the end of the shared memory that is behind it",
                   "such memory cannot be saved yet; let the program map only what is there");
    }
    const auto [entry, fresh] = objects_.insert(
        {{vma.device_major, vma.device_minor, vma.inode}, static_cast<std::uint32_t>(map_.objects_size())});
    if (fresh) map_.add_objects();
    auto& object = *map_.mutable_objects(static_cast<int>(entry->second));
    object.set_size(std::max(object.size(), vma.offset + vma.size()));
    if (vma.name.starts_with(memory_file_prefix)) {
      const std::size_t end = vma.name.rfind(" (deleted)");
      object.set_memory_file(vma.name.substr(memory_file_prefix.size(), end - memory_file_prefix.size()));
    }
    mapping.set_type(Mapping::SHARED_OBJECT);
    mapping.set_offset(vma.offset);
    mapping.set_index(entry->second);
    // What is left of a file is no memory of the process that it could do without.
    const bool is_memory = vma.name.starts_with("/dev/zero") || vma.name.starts_with("[anon_shmem:");
    views_.push_back({&vma, entry->second, is_memory, is_dontdump(mapping)});
    return true;
  }

  // Each byte of a shared object once. Reading a hole of it makes a page there, which is what a read of the
  // program itself would do.
  Status save_objects() {
    for (std::uint32_t index = 0; index < static_cast<std::uint32_t>(map_.objects_size()); ++index) {
      std::vector<const Vma*> views;
      std::vector<View> memory;
      for (const View& view : views_) {
        if (view.object != index) continue;
        views.push_back(view.vma);
        if (view.is_memory) memory.push_back(view);
      }
      std::ranges::sort(views, {}, [](const Vma* vma) { return vma->offset; });
      const std::vector<PageRange> left_out = left_out_of(memory);
      std::uint64_t covered = 0;
      for (const Vma* vma : views) {
        const std::uint64_t from = std::max(covered, vma->offset);
        const std::uint64_t to = vma->offset + vma->size();
        if (from >= to) continue;
        for (const PageRange& saved : without({{from, to}}, within(left_out, from, to))) {
          contents_.push_back({vma->start + (saved.start - vma->offset), saved.end - saved.start, index + 1,
                               saved.start, false});
        }
        covered = to;
      }
      CRS_CHECK(find_outsiders(*views.front()));
    }
    return ok();
  }

  // Of an object with these views, as offsets: what one of them excludes and none includes.
  std::vector<PageRange> left_out_of(const std::vector<View>& views) const {
    const auto moved = [](std::vector<PageRange> ranges, std::uint64_t by) {
      for (PageRange& range : ranges) range = {range.start + by, range.end + by};  // modulo 2^64
      return ranges;
    };
    std::vector<PageRange> excluded, included;
    for (const View& view : views) {
      const auto wanted = context_.left_out->view(*view.vma, view.is_dontdump);
      const std::uint64_t by = view.vma->offset - view.vma->start;
      for (const PageRange& range : moved(wanted.excluded, by)) excluded.push_back(range);
      for (const PageRange& range : moved(wanted.included, by)) included.push_back(range);
    }
    auto left_out = without(united(std::move(excluded)), united(std::move(included)));
    std::vector<PageRange> addresses;
    for (const View& view : views) {
      const Vma& vma = *view.vma;
      for (const PageRange& range :
           moved(within(left_out, vma.offset, vma.offset + vma.size()), vma.start - vma.offset))
        addresses.push_back(range);
    }
    context_.left_out->count_object(addresses, size_of(left_out));
    return left_out;
  }

  // Another process that has the same object mapped would be cut off by a restart.
  Status find_outsiders(const Vma& vma) {
    Pid last(0);
    return see_other_mappings(target_, [&](const OtherMapping& other) {
      const bool shares = other.vma.shared && other.vma.inode == vma.inode &&
                          other.vma.device_major == vma.device_major &&
                          other.vma.device_minor == vma.device_minor;
      if (!shares || other.pid == last) return;
      last = other.pid;
      context_.blockers.add(name_of(vma), other.process() + " shares this memory",
                            "processes that share memory cannot be saved one by one yet");
    });
  }

  CollectContext& context_;
  const FrozenProcess& target_;
  state::MemoryMap& map_;
  std::vector<SourceRun>& contents_;
  PageScanner scanner_;
  std::map<std::uint64_t, std::string> flags_;
  std::map<std::string, std::uint32_t> files_;
  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint64_t>, std::uint32_t> objects_;
  std::map<std::string, bool> locks_;  // find_mapped_locks()
  std::set<std::string> told_;         // files of which a note was given
  std::map<std::string, bool> lost_;
  std::vector<View> views_;
};

Status check_mapping(const Mapping& mapping, const state::MemoryMap& map, std::uint64_t previous_end) {
  const auto bad = [&](std::string_view what) {
    return Error(Errc::bad_snapshot,
                 "mapping at " + to_string(RemoteAddr(mapping.start())) + ": " + std::string(what));
  };
  if (mapping.start() % page_size != 0 || mapping.end() % page_size != 0 ||
      mapping.start() >= mapping.end() || mapping.end() > user_space_end) {
    return bad("impossible range");
  }
  if (mapping.start() < previous_end) return bad("it overlaps the one before");
  if ((mapping.protection() & ~static_cast<std::uint32_t>(PROT_READ | PROT_WRITE | PROT_EXEC)) != 0) {
    return bad("impossible protection");
  }
  if ((mapping.flags() & ~std::uint64_t{all_mapping_flags}) != 0) return bad("unknown flags");
  if (mapping.offset() % page_size != 0 || mapping.offset() > (std::uint64_t{1} << 62))
    return bad("impossible offset");
  const bool file = mapping.type() == Mapping::PRIVATE_FILE || mapping.type() == Mapping::SHARED_FILE;
  if (file && mapping.index() >= static_cast<std::uint32_t>(map.files_size()))
    return bad("its file is missing");
  if (mapping.type() == Mapping::SHARED_OBJECT) {
    if (mapping.index() >= static_cast<std::uint32_t>(map.objects_size()) ||
        mapping.offset() + (mapping.end() - mapping.start()) >
            map.objects(static_cast<int>(mapping.index())).size()) {
      return bad("its shared object is missing or too short");
    }
  }
  if (mapping.type() < Mapping::ANONYMOUS || mapping.type() > Mapping::VDSO) return bad("unknown type");
  if (mapping.guards_size() % 2 != 0) return bad("half a guard region");
  for (int i = 0; i < mapping.guards_size(); i += 2) {
    if (mapping.guards(i) < mapping.start() || mapping.guards(i + 1) > mapping.end() ||
        mapping.guards(i) >= mapping.guards(i + 1) ||
        (mapping.guards(i) | mapping.guards(i + 1)) % page_size != 0) {
      return bad("impossible guard region");
    }
  }
  return ok();
}

// What is in the files that the process does not write: libraries, data.
void remember_content(state::MemoryMap& map) {
  for (auto& file : *map.mutable_files()) {
    if (file.written() || file.deleted_file() != 0) continue;
    const auto fd = open_file(file.path(), O_RDONLY | O_NONBLOCK);
    struct stat status {};
    if (!fd || fstat(fd->get(), &status) != 0 || status.st_ino != file.inode()) continue;
    *file.mutable_content() = content_of_mapped_file(fd->get(), file.size());
  }
}

}  // namespace

Status MemoryMap::collect(CollectContext& context) {
  map_.Clear();
  contents_.clear();
  CRS_TRY(PageScanner scanner, PageScanner::open(context.target.proc()));
  Collector collector(context, map_, contents_, std::move(scanner));
  CRS_CHECK(collector.run());
  if (context.writer != nullptr) remember_content(map_);
  return ok();
}

std::uint64_t MemoryMap::left_out_regions() const {
  return static_cast<std::uint64_t>(std::ranges::count_if(map_.left_out(), [](const state::LeftOut& row) {
    return row.reason() != state::LeftOut::INCLUDED && row.bytes() != 0;
  }));
}

std::uint64_t MemoryMap::content_bytes() const {
  std::uint64_t sum = 0;
  for (const SourceRun& run : contents_) sum += run.bytes;
  return sum;
}

Status MemoryMap::load(std::string_view bytes) {
  CRS_CHECK(from_section(bytes, map_));
  std::uint64_t previous_end = page_size;  // nothing at address 0
  for (const Mapping& mapping : map_.mappings()) {
    CRS_CHECK(check_mapping(mapping, map_, previous_end));
    previous_end = mapping.end();
  }
  for (const auto& file : map_.files()) {
    if (file.path().empty() || file.path()[0] != '/' || file.path().find('\0') != std::string::npos) {
      return Error(Errc::bad_snapshot, "a mapped file has an impossible path");
    }
    if (!MappedFile::Lock_IsValid(file.lock())) {
      return Error(Errc::bad_snapshot, "a mapped file has an unknown lock");
    }
    CRS_CHECK(check_content(file.content(), file.size()).context(file.path()));
  }
  for (const auto& object : map_.objects()) {
    if (object.size() == 0 || object.size() % page_size != 0 || object.size() > user_space_end) {
      return Error(Errc::bad_snapshot, "a shared object has an impossible size");
    }
  }
  for (const auto& row : map_.left_out()) {
    if (!state::LeftOut::Reason_IsValid(row.reason()) || row.start() > row.end())
      return Error(Errc::bad_snapshot, "an impossible range was left out");
  }
  if (map_.vdso().size() > 64 * page_size) return Error(Errc::bad_snapshot, "the vdso is too large");
  return ok();
}

namespace {

// All [v...] mappings of this process but [vsyscall]: the kernel places them as one block.
std::vector<Vma> kernels_vdso(const std::vector<Vma>& own) {
  std::vector<Vma> block;
  for (const Vma& vma : own) {
    if (vma.name.starts_with("[v") && vma.name != "[vsyscall]") block.push_back(vma);
  }
  return block;
}

// A place for `size` bytes between the saved mappings, away from all of them; 0: none.
std::uint64_t free_place(const state::MemoryMap& map, std::uint64_t size) {
  constexpr std::uint64_t distance = 2u << 20;
  std::uint64_t from = std::uint64_t{1} << 40;
  for (const Mapping& mapping : map.mappings()) {
    if (mapping.end() <= from) continue;
    if (mapping.start() > from && mapping.start() - from > size + distance) break;
    from = page_up(mapping.end()) + distance;
  }
  return from + size < user_space_end - distance ? from : 0;
}

}  // namespace

Status MemoryMap::fit_vdso(const InTheMiddle& is_in_the_middle, Blockers& blockers) {
  if (map_.vdso().empty()) return ok();
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const auto own, self.maps());
  const auto block = kernels_vdso(own);
  const auto vdso = std::ranges::find(block, "[vdso]", &Vma::name);
  const auto own_image = vdso == block.end()
                             ? std::span<const std::byte>()
                             : std::span(reinterpret_cast<const std::byte*>(vdso->start), vdso->size());
  bool same = own_image.size() == map_.vdso().size() &&
              std::memcmp(own_image.data(), map_.vdso().data(), own_image.size()) == 0;
  for (const Mapping& mapping : map_.mappings()) {
    if (mapping.type() != Mapping::VDSO) continue;
    same = same && std::ranges::any_of(block, [&](const Vma& vma) {
             return vma.name == mapping.name() && vma.size() == mapping.end() - mapping.start();
           });
  }
  // For the tests: a machine has one kernel.
  if (same && std::getenv("CRS_TEST_OTHER_VDSO") == nullptr) return ok();

  const std::string other = "this kernel's differs from the one that the program was saved on";
  const std::string go_there = "restart it on a machine with the kernel that `crs inspect` names";
  const auto code = std::ranges::find_if(*map_.mutable_mappings(), [](const Mapping& mapping) {
    return mapping.type() == Mapping::VDSO && mapping.name() == "[vdso]";
  });
  const std::uint64_t size = block.empty() ? 0 : block.back().end - block.front().start;
  const std::uint64_t place = free_place(map_, size);
  if (code == map_.mutable_mappings()->end() || code->end() - code->start() != map_.vdso().size() ||
      own_image.empty() || place == 0) {
    blockers.add("vdso", other, go_there);
    return ok();
  }
  CRS_TRY(const bool inside, is_in_the_middle({code->start(), code->end()}));
  if (inside) {
    blockers.add("vdso", other + ", and a thread was in the middle of it",
                 go_there + ", or restart another snapshot");
    return ok();
  }
  auto image = redirect_vdso(std::as_bytes(std::span(map_.vdso())), own_image,
                             place + (vdso->start - block.front().start));
  if (!image) {
    blockers.add("vdso", other + ": " + image.error().message(), go_there);
    return ok();
  }
  map_.set_vdso(image->data(), image->size());
  redirected_vdso_ = code->start();
  code->set_type(Mapping::ANONYMOUS);
  code->clear_name();
  auto& mappings = *map_.mutable_mappings();
  const auto is_old = [](const Mapping& mapping) { return mapping.type() == Mapping::VDSO; };
  mappings.erase(std::remove_if(mappings.begin(), mappings.end(), is_old), mappings.end());
  for (const Vma& vma : block) {
    auto& mapping = *map_.add_mappings();
    mapping.set_start(place + (vma.start - block.front().start));
    mapping.set_end(mapping.start() + vma.size());
    mapping.set_protection(PROT_READ);
    mapping.set_type(Mapping::VDSO);
    mapping.set_name(vma.name);
  }
  std::ranges::sort(*map_.mutable_mappings(), {}, [](const Mapping& mapping) { return mapping.start(); });
  return ok();
}

Status MemoryMap::check(CheckContext& context) const {
  const std::string restore_it = "put the file back as it was";
  for (const auto& file : map_.files()) {
    if (file.deleted_file() != 0) continue;
    struct stat now {};
    if (stat(file.path().c_str(), &now) != 0) {
      context.blockers.add(file.path(), "the program has this file mapped, and it is not there any more",
                           restore_it);
      continue;
    }
    if (!S_ISREG(now.st_mode)) {
      context.blockers.add(
          file.path(), "the program has this file mapped, and it is no regular file any more", restore_it);
      continue;
    }
    const auto size = static_cast<std::uint64_t>(now.st_size);
    if (file.written()) {
      if (size < file.size()) {
        context.blockers.add(
            file.path(), "the program writes this file through memory, and it is shorter now", restore_it);
      }
      continue;
    }
    bool changed = size != file.size() || nanoseconds(now.st_mtim) != file.mtime_ns();
    // A new name or other permissions give it another ctime as well, a copy another inode.
    const bool suspect =
        file.has_ctime_ns() && (now.st_ino != file.inode() || nanoseconds(now.st_ctim) != file.ctime_ns());
    if (suspect && !changed) {
      const auto fd = open_file(file.path(), O_RDONLY | O_NONBLOCK);
      changed = fd && compare_content(file.content(), fd->get()) == Sameness::changed;
    }
    if (changed && !context.options.allow_changed_files) {
      context.blockers.add(
          file.path(), "the program has this file mapped, and it was changed or replaced since",
          restore_it +
              ", or restart with --allow-changed-files if you know that it is equal where it matters");
    }
  }
  return ok();
}

nlohmann::json MemoryMap::describe() const {
  nlohmann::json list = nlohmann::json::array();
  for (const Mapping& mapping : map_.mappings()) {
    std::string access;
    access += (mapping.protection() & PROT_READ) != 0 ? 'r' : '-';
    access += (mapping.protection() & PROT_WRITE) != 0 ? 'w' : '-';
    access += (mapping.protection() & PROT_EXEC) != 0 ? 'x' : '-';
    access += mapping.type() == Mapping::SHARED_FILE || mapping.type() == Mapping::SHARED_OBJECT ? 's' : 'p';
    list.push_back({{"start", to_string(RemoteAddr(mapping.start()))},
                    {"end", to_string(RemoteAddr(mapping.end()))},
                    {"bytes", mapping.end() - mapping.start()},
                    {"access", access},
                    {"offset", mapping.offset()},
                    {"name", mapping.name()}});
  }
  return list;
}

nlohmann::json MemoryMap::describe_left_out() const {
  if (map_.left_out().empty()) return nullptr;
  nlohmann::json list = nlohmann::json::array();
  for (const auto& row : map_.left_out()) {
    const char* reason = "excluded by the program";
    const char* returns = row.rebuilt() ? "rebuilt by the program" : "zeros, or the mapped file's bytes";
    if (row.reason() == state::LeftOut::DONTDUMP) reason = "MADV_DONTDUMP";
    if (row.reason() == state::LeftOut::INCLUDED) {
      reason = "included by the program";
      returns = "saved";
    }
    list.push_back({{"label", row.label()},
                    {"reason", reason},
                    {"start", to_string(RemoteAddr(row.start()))},
                    {"end", to_string(RemoteAddr(row.end()))},
                    {"bytes", row.bytes()},
                    {"comes_back_as", returns}});
  }
  return list;
}

}  // namespace crs
