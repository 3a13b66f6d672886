// SPDX-License-Identifier: Apache-2.0
// File locks: flock(2), and record locks by fcntl(2) of the process or of an open file description.
//
// What this file knows
//   fdinfo of a descriptor lists the locks taken through it, those of its description and those of this
//   process:
//     lock:  1: POSIX  ADVISORY  WRITE 4711 fe:00:131 1073741826 1073742335
//   A process loses its POSIX locks on a file when it closes any descriptor of that file. So they are taken
//   when all descriptors stand and everything that opens and closes files is over: from outside, by the
//   process itself. Somebody else may hold one by then. That is asked before anything is created, and found
//   out again when it is taken. While the program was gone nobody held the lock. A file that was changed
//   meanwhile is not what the program believes it to be (a database would be damaged), so that refuses the
//   restart. Content is compared where it is small, else size and time. What a program that runs on after its
//   checkpoint writes itself is such a change too, unless it only appends. A lock of a description that
//   another process has as well would be held by that one after a restart: refused. A description may live on
//   in a mapping or a message after its descriptor was closed; /proc/locks tells of such locks.
// What it leaves to others
//   The files themselves, and what has grown (regular_files.cc).
//
// Kernel interfaces: proc(5) fdinfo and locks, flock(2), fcntl(2), kcmp(2).   Round trip:
// tests/targets/file_locks_*.cc
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <map>
#include <sstream>

#include "engine/kinds/file_locks.pb.h"
#include "engine/mapped_locks.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"
#include "store/checksum.h"

namespace crs {
namespace {

constexpr std::int64_t last_offset = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t largest_compared = 16u << 20;  // bytes; the process stands still while they are read
constexpr int most_descriptors = 1 << 20;

// false: of a sort that is not ours to restore.
bool to_lock(const LockLine& line, state::FileLock& lock) {
  if (line.sort == "FLOCK") {
    lock.set_sort(state::FileLock::FLOCK);
  } else if (line.sort == "POSIX") {
    lock.set_sort(state::FileLock::POSIX);
  } else if (line.sort == "OFDLCK") {
    lock.set_sort(state::FileLock::OFD);
  } else {
    return false;
  }
  if (line.access != "READ" && line.access != "WRITE") return false;
  lock.set_exclusive(line.access == "WRITE");
  if (lock.sort() == state::FileLock::FLOCK) return true;
  const auto first = parse_number(line.first);
  const auto last = line.last == "EOF" ? std::optional<std::uint64_t>(last_offset) : parse_number(line.last);
  if (!first || !last || *last < *first || *last > static_cast<std::uint64_t>(last_offset)) return false;
  lock.set_start(static_cast<std::int64_t>(*first));
  lock.set_length(line.last == "EOF" ? 0 : static_cast<std::int64_t>(*last - *first + 1));
  return true;
}

struct flock request_of(const state::FileLock& lock) {
  struct flock request {};
  request.l_type = static_cast<short>(lock.exclusive() ? F_WRLCK : F_RDLCK);
  request.l_whence = SEEK_SET;
  request.l_start = lock.start();
  request.l_len = lock.length();
  return request;
}

int flock_operation(const state::FileLock& lock) {
  return (lock.exclusive() ? LOCK_EX : LOCK_SH) | LOCK_NB;
}

std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// Of the first `size` bytes; empty where they cannot be read.
std::string checksum(int fd, std::uint64_t size) {
  store::Checksummer sum;
  Bytes piece(std::min<std::uint64_t>(size, 256u << 10));
  for (std::uint64_t at = 0; at < size;) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), size - at));
    if (!pread_exact(fd, part, at, "a locked file")) return {};
    sum.add(part);
    at += part.size();
  }
  const store::Hash128 hash = sum.result();
  std::string bytes(sizeof hash, '\0');
  std::memcpy(bytes.data(), &hash, sizeof hash);
  return bytes;
}

// Who holds a lock that stands in ours' way; empty: nobody, or it cannot be asked.
std::optional<std::string> find_holder(int fd, const state::FileLock& lock) {
  pid_t pid = -1;
  if (lock.sort() == state::FileLock::FLOCK) {
    // It can only be tried. Closing the descriptor gives it up.
    if (flock(fd, flock_operation(lock)) == 0 || errno != EWOULDBLOCK) return std::nullopt;
  } else {
    struct flock request = request_of(lock);
    // Asking for one of a description tells of those of our own process as well.
    if (fcntl(fd, F_OFD_GETLK, &request) != 0 || request.l_type == F_UNLCK) return std::nullopt;
    pid = request.l_pid;
  }
  if (pid <= 0) return "another process";
  std::string name = "process " + std::to_string(pid);
  if (const auto proc = ProcDir::open(Pid(pid))) {
    if (const auto stat = proc->stat()) name += " (" + stat->comm + ")";
  }
  return name;
}

Result<OwnedFd> open_to_ask(const std::string& path) {
  auto fd = open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  return fd ? std::move(fd) : open_file(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
}

// A descriptor of the target through which locks were taken.
struct Locked {
  RemoteFd fd;
  std::string path;
  struct stat status {};
  std::vector<std::string> lines;  // behind "lock:"
};

class FileLocksKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    CRS_TRY(const auto all, find_locked(context));
    std::map<std::string, int> listed;  // sort, place and owner -> how many there are
    for (const Locked& each : all) {
      for (const std::string& text : each.lines) {
        const auto line = parse_lock(text);
        state::FileLock lock;
        if (!line || !to_lock(*line, lock)) {
          const bool lease = line && (line->sort == "LEASE" || line->sort == "DELEG");
          context.blockers.add(
              name_of(each),
              lease ? "the program holds a lease on it" : "it is locked in an unknown way:" + text,
              "let the program give it up before the checkpoint");
          continue;
        }
        if (!S_ISREG(each.status.st_mode) && !S_ISDIR(each.status.st_mode)) {
          context.blockers.add(name_of(each),
                               "the program holds a lock on it, and it is neither a file nor a directory",
                               "let the program unlock it before the checkpoint");
          continue;
        }
        ++listed[key(*line)];
        lock.set_number(each.fd.v);
        CRS_TRY(const std::uint32_t index, file_index(context.target, each));
        lock.set_file(index);
        *state_.add_locks() = std::move(lock);
      }
    }
    CRS_CHECK(refuse_shared(context, all));
    return refuse_without_descriptor(context, listed);
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& file : state_.files()) {
      const bool sound =
          !file.path().empty() && file.path()[0] == '/' && file.path().find('\0') == std::string::npos &&
          (file.checksum().empty() ||
           (file.checksum().size() == sizeof(store::Hash128) && file.size() <= largest_compared));
      if (!sound) return Error(Errc::bad_snapshot, "a locked file is described wrongly");
    }
    for (const auto& lock : state_.locks()) {
      const bool known = lock.sort() >= state::FileLock::FLOCK && lock.sort() <= state::FileLock::OFD;
      const bool sound = known && lock.number() >= 0 && lock.number() < most_descriptors &&
                         lock.start() >= 0 && lock.length() >= 0 &&
                         lock.length() - 1 <= last_offset - lock.start() &&
                         lock.file() < static_cast<std::uint32_t>(state_.files_size());
      if (!sound) return Error(Errc::bad_snapshot, "a file lock is described wrongly");
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    std::vector<bool> looked_at(static_cast<std::size_t>(state_.files_size()), false);
    for (const auto& lock : state_.locks()) {
      const auto& file = state_.files(static_cast<int>(lock.file()));
      if (is_given(context.options, lock.number()) || !file.named()) continue;
      const auto fd = open_to_ask(file.path());
      if (!fd) continue;  // the file's own kind says what is wrong with it
      if (!looked_at[lock.file()]) {
        looked_at[lock.file()] = true;
        if (!context.options.allow_changed_files) check_unchanged(context, file, fd->get());
      }
      if (const auto holder = find_holder(fd->get(), lock)) {
        context.blockers.add(name_of(lock), "the program held it, and " + *holder + " holds it now",
                             "end that process, or wait until it gives the lock up");
      }
    }
    return ok();
  }

  Status rebuild(RebuildContext& context) override {
    CallBatch& batch = context.leader();
    for (const auto& lock : state_.locks()) {
      if (is_given(context.options(), lock.number())) continue;
      const std::string what = "take " + name_of(lock) + " again";
      if (lock.sort() == state::FileLock::FLOCK) {
        batch.call(what, SYS_flock, lock.number(), flock_operation(lock));
      } else {
        const int command = lock.sort() == state::FileLock::OFD ? F_OFD_SETLK : F_SETLK;
        batch.call(what, SYS_fcntl, lock.number(), command, batch.in_value(request_of(lock)));
      }
    }
    return ok();
  }

  nlohmann::json describe() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& lock : state_.locks()) {
      constexpr const char* sorts[] = {"", "flock", "posix", "ofd"};
      list.push_back({{"fd", lock.number()},
                      {"path", state_.files(static_cast<int>(lock.file())).path()},
                      {"sort", sorts[lock.sort()]},
                      {"exclusive", lock.exclusive()},
                      {"start", lock.start()},
                      {"length", lock.length()}});
    }
    return list;
  }

 private:
  // The user gave another file: --fd, or --stdio for a standard stream. What it locked is not there.
  static bool is_given(const RestoreOptions& options, int number) {
    const bool other_streams = options.stdio == StdioMode::null || options.stdio == StdioMode::inherit;
    return options.fd_paths.contains(number) || (number < 3 && other_streams);
  }

  static std::string name_of(const Locked& each) {
    return "fd " + std::to_string(each.fd.v) + " (" + each.path + ")";
  }
  static std::string key(const LockLine& line) { return line.sort + " " + line.where + " " + line.owner; }

  std::string name_of(const state::FileLock& lock) const {
    return "the " + std::string(lock.exclusive() ? "exclusive" : "shared") + " lock on " +
           state_.files(static_cast<int>(lock.file())).path() + " (fd " + std::to_string(lock.number()) + ")";
  }

  // One for each description, by its lowest descriptor.
  static Result<std::vector<Locked>> find_locked(CollectContext& context) {
    const ProcDir& proc = context.target.proc();
    std::vector<Locked> all;
    CRS_TRY(const auto fds, proc.fds());
    for (const RemoteFd fd : fds) {
      const std::string number = std::to_string(fd.v);
      CRS_TRY(const std::string fdinfo, proc.read("fdinfo/" + number));
      Locked each{fd, {}, {}, {}};
      std::istringstream lines(fdinfo);
      for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("lock:")) each.lines.push_back(line.substr(5));
      }
      if (each.lines.empty()) continue;
      const pid_t pid = context.target.living_thread().v;
      const bool seen = std::ranges::any_of(all, [&](const Locked& other) {
        return syscall(SYS_kcmp, pid, pid, KCMP_FILE, other.fd.v, fd.v) == 0;
      });
      if (seen) continue;
      CRS_TRY(each.path, proc.read_link("fd/" + number));
      if (fstatat(proc.fd(), ("fd/" + number).c_str(), &each.status, 0) != 0)
        return Error::from_errno(errno, "stat " + each.path);
      all.push_back(std::move(each));
    }
    return all;
  }

  Result<std::uint32_t> file_index(const FrozenProcess& target, const Locked& each) {
    const auto [entry, fresh] = files_.insert(
        {{each.status.st_dev, each.status.st_ino}, static_cast<std::uint32_t>(state_.files_size())});
    if (!fresh) return entry->second;
    auto& file = *state_.add_files();
    file.set_path(each.path);
    struct stat named {};
    file.set_named(stat(each.path.c_str(), &named) == 0 && named.st_ino == each.status.st_ino &&
                   named.st_dev == each.status.st_dev);
    file.set_regular(S_ISREG(each.status.st_mode));
    file.set_size(static_cast<std::uint64_t>(each.status.st_size));
    file.set_mtime_ns(nanoseconds(each.status.st_mtim));
    if (!file.regular() || !file.named()) return entry->second;
    CRS_TRY(const bool appended, is_only_appended(target, each));
    file.set_only_appended(appended);
    if (file.size() <= largest_compared) {
      const auto fd = target.proc().open_entry("fd/" + std::to_string(each.fd.v), O_RDONLY);
      if (fd) file.set_checksum(checksum(fd->get(), file.size()));
    }
    return entry->second;
  }

  static Result<bool> is_only_appended(const FrozenProcess& target, const Locked& each) {
    const bool mapped = std::ranges::any_of(
        target.vmas(), [&](const Vma& vma) { return vma.shared && vma.inode == each.status.st_ino; });
    if (mapped) return false;
    CRS_TRY(const auto fds, target.proc().fds());
    for (const RemoteFd fd : fds) {
      const std::string number = std::to_string(fd.v);
      CRS_TRY(const std::string link, target.proc().read_link("fd/" + number));
      if (link != each.path) continue;
      CRS_TRY(const std::string fdinfo, target.proc().read("fdinfo/" + number));
      const auto flags = ProcFields::parse(fdinfo).number("flags", 8).value_or(O_RDWR);
      if ((flags & O_ACCMODE) != O_RDONLY && (flags & O_APPEND) == 0) return false;
    }
    return true;
  }

  // POSIX locks belong to the process, whoever else has the description.
  static Status refuse_shared(CollectContext& context, const std::vector<Locked>& all) {
    std::map<std::string, std::vector<const Locked*>> by_link;
    for (const Locked& each : all) {
      const bool own = std::ranges::all_of(each.lines, [](const std::string& text) {
        const auto line = parse_lock(text);
        return line && line->sort == "POSIX";
      });
      if (!own) by_link[each.path].push_back(&each);
    }
    if (by_link.empty()) return ok();
    return see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
      const auto found = by_link.find(other.link);
      if (found == by_link.end()) return;
      for (const Locked* each : found->second) {
        if (syscall(SYS_kcmp, context.target.living_thread().v, other.pid.v, KCMP_FILE, each->fd.v,
                    other.fd.v) != 0)
          continue;
        context.blockers.add(
            name_of(*each),
            "the lock on it is also held by " + other.process() + ", which shares the open file",
            "end that process, or let one of them open the file by itself");
      }
    });
  }

  // Locks of descriptions that the process has no descriptor of any more: in a mapping, or on their way in a
  // message.
  static Status refuse_without_descriptor(CollectContext& context, const std::map<std::string, int>& listed) {
    CRS_TRY(const auto places, without_descriptor(context.target, listed));
    for (const std::string& where : places) {
      context.blockers.add(
          "a lock on the file " + where + " (device and inode)",
          "the program took it, closed the descriptor, and holds it through a mapping or a message",
          "let the program unlock the file before it closes it");
    }
    return ok();
  }

  // The files (device and inode) whose locks nobody listed.
  static Result<std::vector<std::string>> without_descriptor(const FrozenProcess& target,
                                                             std::map<std::string, int> listed) {
    std::vector<std::string> found;
    CRS_TRY(const auto mapped, find_mapped_locks(target));  // those the memory map takes again
    CRS_TRY(const std::string* const locks, target.file_locks());
    std::istringstream lines(*locks);
    const std::string pid = std::to_string(target.pid().v);
    for (std::string each; std::getline(lines, each);) {
      const auto line = parse_lock(each);
      if (!line) continue;
      const bool ours = line->sort == "FLOCK" && line->owner == pid;
      if (ours && mapped.contains(line->where)) continue;
      if (!ours && !(line->sort == "OFDLCK" && is_mapped(target, line->where))) continue;
      const auto known = listed.find(key(*line));
      if (known != listed.end() && (!ours || --known->second >= 0)) continue;
      found.push_back(line->where);
    }
    return found;
  }

  static bool is_mapped(const FrozenProcess& target, const std::string& where) {
    return std::ranges::any_of(target.vmas(), [&](const Vma& vma) { return where == lock_place(vma); });
  }

  static void check_unchanged(CheckContext& context, const state::LockedFile& file, int fd) {
    struct stat now {};
    if (!file.regular() || fstat(fd, &now) != 0) return;
    const auto size = static_cast<std::uint64_t>(now.st_size);
    if (size < file.size()) return;  // refused by the file's own kind
    const bool same_size = size == file.size() || file.only_appended();
    const bool changed = file.checksum().empty()
                             ? nanoseconds(now.st_mtim) != file.mtime_ns() && !file.only_appended()
                             : !same_size || checksum(fd, file.size()) != file.checksum();
    if (!changed) return;
    context.blockers.add(
        "file " + file.path(),
        "the program had locked it, and it was changed since the checkpoint, when the lock was gone",
        "put the file back as it was (crs checkpoint --term lets nothing change it), or restart with "
        "--allow-changed-files");
  }

  state::FileLocks state_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> files_;
};

}  // namespace

extern constinit const KindInfo kind_file_locks{
    .section = "file_locks", .phase = Phase::timers, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<FileLocksKind>();
    }};

}  // namespace crs
