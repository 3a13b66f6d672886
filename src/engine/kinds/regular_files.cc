// SPDX-License-Identifier: Apache-2.0
// Regular files: open files with a path.
//
// What this file knows
//   A restart opens the same path again. A file that the process writes and that has grown since is cut back
//   to its saved length, so that appended output equals that of an uninterrupted run; what is cut is kept
//   beside the snapshot. A file that it only reads must be what it was. All files are cut at the end of the
//   restart, when nothing else can fail. O_CREAT, O_EXCL and O_TRUNC act at open(2) only and are never used
//   again.
// What it leaves to others
//   Which descriptors share a description (descriptor_table.cc); locks (file_locks.cc); the content of files
//   without a name (deleted_files.h).
//
// Kernel interfaces: open(2), proc(5) fdinfo, fcntl(2).   Round trip: tests/targets/regular_files_*.cc
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "engine/deleted_files.h"
#include "engine/kinds/regular_files.pb.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr long proc_magic = 0x9fa0;
constexpr long hugetlbfs_magic = 0x958458f6;
constexpr long secretmem_magic = 0x5345434d;
constexpr long sysfs_magic = 0x62656572;
constexpr long special_systems[] = {proc_magic, sysfs_magic, hugetlbfs_magic, secretmem_magic};
constexpr std::uint32_t acting_at_open = O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY;
constexpr std::uint32_t kept_flags = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT |
                                     O_NOATIME | O_LARGEFILE | O_NOFOLLOW | O_TMPFILE;

bool writes(const state::RegularFile& file) {
  return (file.flags() & O_ACCMODE) != O_RDONLY;
}

std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::string fd_names(const OpenFile& file) {
  return "fd " + std::to_string(file.fds.front().v) + " (" + file.path + ")";
}

class RegularFilesKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override {
    if (!S_ISREG(file.status.st_mode) || (file.flags & O_PATH) != 0 || file.path.empty() ||
        file.path[0] != '/')
      return false;
    if (file.path.starts_with("/SYSV")) return false;
    struct statfs system {};
    if (file.local < 0 || fstatfs(file.local, &system) != 0) return true;
    return std::ranges::find(special_systems, system.f_type) == std::end(special_systems);
  }

  Status collect(CollectContext&) override { return ok(); }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    state::RegularFile saved;
    saved.set_id(file.id);
    saved.set_path(file.path);
    struct stat named {};
    const bool same = stat(file.path.c_str(), &named) == 0 && named.st_ino == file.status.st_ino &&
                      named.st_dev == file.status.st_dev;
    // By way of /proc nothing can be opened with O_NOFOLLOW; a file that got a name was made by that.
    saved.set_flags(file.flags & ~acting_at_open &
                    ~static_cast<std::uint32_t>(same ? O_TMPFILE & ~O_DIRECTORY : O_NOFOLLOW));
    saved.set_position(file.position);
    saved.set_size(static_cast<std::uint64_t>(file.status.st_size));
    saved.set_mtime_ns(nanoseconds(file.status.st_mtim));
    saved.set_mode(file.status.st_mode & 07777);
    saved.set_uid(file.status.st_uid);
    saved.set_gid(file.status.st_gid);
    saved.set_inode(file.status.st_ino);
    saved.set_device(file.status.st_dev);
    if ((saved.flags() & ~kept_flags) != 0) {
      context.blockers.add(fd_names(file), "it was opened with a flag that cannot be restored",
                           "let the program close it first");
    }
    if (!same) CRS_CHECK(save_deleted(context, file, saved));
    *state_.add_files() = std::move(saved);
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& file : state_.files()) {
      if (file.path().empty() || file.path()[0] != '/' || file.path().find('\0') != std::string::npos) {
        return Error(Errc::bad_snapshot, "an open file has an impossible path");
      }
      if ((file.flags() & ~kept_flags) != 0 || file.position() < 0 || file.size() > (1ull << 62) ||
          (file.mode() & ~07777u) != 0) {
        return Error(Errc::bad_snapshot, file.path() + " is described wrongly");
      }
      if (file.deleted() && file.deleted_file() == 0) {
        return Error(Errc::bad_snapshot,
                     "the content of the deleted file " + file.path() + " is not where it should be")
            .with_hint("restart it with the crs that made the snapshot");
      }
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    for (const auto& file : state_.files()) {
      if (file.deleted() || context.is_replaced(file.id())) continue;
      check_file(context, file);
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext& context, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.files(), [id](const auto& file) { return file.id() == id; });
    if (found == state_.files().end()) return Error(Errc::bad_snapshot, "an open file is missing");
    CRS_TRY(OwnedFd fd, found->deleted() ? open_deleted(context, *found) : open_again(*found));
    if (lseek(fd.get(), found->position(), SEEK_SET) < 0)
      return Error::from_errno(errno, "go to the old position in " + found->path());
    return fd;
  }

  Status commit(CommitContext& context) override {
    if (context.options.files != FilesPolicy::rollback) return ok();
    std::set<std::string> done;
    for (const auto& file : state_.files()) {
      if (file.deleted() || context.is_replaced(file.id()) || !is_written(file) ||
          !done.insert(file.path()).second)
        continue;
      CRS_CHECK(cut_back(context, file).context(file.path()));
    }
    return ok();
  }

  nlohmann::json describe() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& file : state_.files()) {
      list.push_back({{"path", file.path()},
                      {"position", file.position()},
                      {"size", file.size()},
                      {"written", writes(file)},
                      {"deleted", file.deleted()}});
    }
    return list;
  }

 private:
  // Through any description, not only this one.
  bool is_written(const state::RegularFile& file) const {
    return std::ranges::any_of(state_.files(), [&](const auto& other) {
      return writes(other) && other.inode() == file.inode() && other.device() == file.device();
    });
  }

  // There is no name, or another file has it.
  static Status save_deleted(CollectContext& context, const OpenFile& file, state::RegularFile& saved) {
    saved.set_deleted(true);
    CRS_TRY(const auto index,
            context.deleted_files->add(context, file.fds.front(), file.path, file.status, file.flags));
    if (index) saved.set_deleted_file(*index + 1);
    return ok();
  }

  // Whatever is written goes to its end: then its length tells what is new.
  bool is_only_appended(const state::RegularFile& file) const {
    return std::ranges::none_of(state_.files(), [&](const auto& other) {
      return writes(other) && other.inode() == file.inode() && other.device() == file.device() &&
             (other.flags() & O_APPEND) == 0 && static_cast<std::uint64_t>(other.position()) != other.size();
    });
  }

  void check_file(CheckContext& context, const state::RegularFile& file) const {
    const auto block = [&](const std::string& reason, const std::string& remedy) {
      context.blockers.add("file " + file.path(), reason, remedy);
    };
    const std::string put_back = "put the file back as it was";
    const bool may_change = context.options.allow_changed_files;
    struct stat now {};
    if (stat(file.path().c_str(), &now) != 0) {
      return block("the program has it open, and it is not there any more",
                   put_back + ", or give another with --fd N=PATH");
    }
    if (!S_ISREG(now.st_mode)) return block("it is no regular file any more", put_back);
    const auto size = static_cast<std::uint64_t>(now.st_size);
    if (size < file.size() && !may_change) {
      return block("it is shorter than at the checkpoint (" + std::to_string(size) + " bytes instead of " +
                       std::to_string(file.size()) + ")",
                   put_back + ", or restart with --allow-changed-files");
    }
    if (!is_written(file)) {
      const bool changed = size != file.size() || nanoseconds(now.st_mtim) != file.mtime_ns();
      if (changed && !may_change) {
        block("the program reads it, and it was changed since the checkpoint",
              put_back + ", or restart with --allow-changed-files");
      }
      return;
    }
    if (nanoseconds(now.st_mtim) != file.mtime_ns() && !is_only_appended(file)) {
      const std::string reason =
          "the program writes in the middle of it, and it was written to since the checkpoint";
      if (context.options.files == FilesPolicy::refuse) {
        block(reason, put_back + ", or restart without --files refuse");
      } else {
        context.blockers.note(
            file.path() + ": " + reason +
            "; only its length can be put back, so the program may find there what is newer than itself");
      }
      return;
    }
    if (size > file.size() && context.options.files == FilesPolicy::rollback) check_cut(context, file, now);
    if (size > file.size() && context.options.files == FilesPolicy::refuse) {
      block("it has grown by " + std::to_string(size - file.size()) + " bytes since the checkpoint",
            "--files rollback cuts it back to its old length and keeps what is cut; --files keep leaves it "
            "as it is");
    }
  }

  // A file that is longer now will be cut. It must be the saved one, and not be written by a copy of the
  // program.
  static void check_cut(CheckContext& context, const state::RegularFile& file, const struct stat& now) {
    if (now.st_ino != file.inode() && !context.options.allow_changed_files) {
      context.blockers.add(
          "file " + file.path(), "it is another file than at the checkpoint, and longer: it would be cut",
          "put the old one back, or restart with --files keep, or with --allow-changed-files if this "
          "is a copy of it");
    }
    const std::string& command = context.snapshot.manifest().command;
    std::optional<std::string> writer;
    const auto status = see_all_descriptors([&](const OtherDescriptor& other) {
      if (writer || other.link != file.path()) return;
      const auto proc = ProcDir::open(other.pid);
      const auto stat = proc ? proc->stat() : Result<ProcStat>(Error(proc.error()));
      if (!stat || stat->comm != command) return;
      const auto fdinfo = proc->read("fdinfo/" + std::to_string(other.fd.v));
      const auto flags = fdinfo ? ProcFields::parse(*fdinfo).number("flags", 8).value_or(0) : 0;
      if ((flags & O_ACCMODE) != O_RDONLY) writer = other.process();
    });
    if (!status || !writer) return;
    context.blockers.add("file " + file.path(),
                         "it has grown since the checkpoint and would be cut back, and " + *writer +
                             ", which may be the same program, is writing it",
                         "end that process first, or restart with --files keep");
  }

  static Result<OwnedFd> open_again(const state::RegularFile& file) {
    auto fd = open_file(file.path(), static_cast<int>(file.flags()) | O_NOCTTY);
    if (!fd && (file.flags() & O_NOATIME) != 0 && fd.error().error_number() == EPERM) {
      return open_file(file.path(), (static_cast<int>(file.flags()) & ~O_NOATIME) | O_NOCTTY);
    }
    return fd;
  }

  static Result<OwnedFd> open_deleted(const InsideContext& context, const state::RegularFile& file) {
    CRS_TRY(const int made, context.deleted_files->make(context.snapshot, file.deleted_file() - 1));
    if ((file.flags() & O_TMPFILE) == O_TMPFILE) {
      if (OwnedFd first = context.deleted_files->take_first(file.deleted_file() - 1)) return first;
    }
    return open_file("/proc/self/fd/" + std::to_string(made),
                     static_cast<int>(file.flags() & ~std::uint32_t{O_TMPFILE}));
  }

  // Keeps the tail beside the snapshot, then cuts.
  Status cut_back(CommitContext& context, const state::RegularFile& file) const {
    CRS_TRY(const OwnedFd fd, open_file(file.path(), O_RDWR | O_NOCTTY));
    struct stat now {};
    if (fstat(fd.get(), &now) != 0) return Error::from_errno(errno, "stat");
    const auto size = static_cast<std::uint64_t>(now.st_size);
    if (size <= file.size()) return ok();
    CRS_TRY(const std::string kept, keep_tail(context.snapshot.path(), file, fd.get(), size));
    if (ftruncate(fd.get(), static_cast<off_t>(file.size())) != 0)
      return Error::from_errno(errno, "cut back");
    // It is what it was, and another restart shall see that; whoever may only write to it may not set its
    // time.
    const timespec times[2] = {{0, UTIME_OMIT},
                               {file.mtime_ns() / 1'000'000'000, file.mtime_ns() % 1'000'000'000}};
    if (is_only_appended(file)) (void)futimens(fd.get(), times);
    context.note(file.path() + " had grown by " + std::to_string(size - file.size()) +
                 " bytes since the checkpoint and was cut back; what was cut is kept in " + kept);
    return ok();
  }

  static Result<std::string> keep_tail(const std::string& snapshot, const state::RegularFile& file, int fd,
                                       std::uint64_t size) {
    const std::size_t slash = snapshot.rfind('/');
    const std::string folder = snapshot.substr(0, slash) + "/tails";
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
      return Error::from_errno(errno, "make " + folder, Errc::storage);
    const std::string stem = folder + "/" + snapshot.substr(slash + 1) + "-" +
                             file.path().substr(file.path().rfind('/') + 1) + ".";
    for (int number = 1; number < 1'000'000; ++number) {
      const std::string path = stem + std::to_string(number);
      auto tail = open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
      if (!tail) {
        if (tail.error().error_number() == EEXIST) continue;
        return std::move(tail).error();
      }
      Bytes piece(1u << 20);
      for (std::uint64_t at = file.size(); at < size;) {
        const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), size - at));
        CRS_CHECK(pread_exact(fd, part, at, file.path()));
        CRS_CHECK(write_all(tail->get(), part, path));
        at += part.size();
      }
      if (fsync(tail->get()) != 0)
        return Error::from_errno(errno, "make " + path + " durable", Errc::storage);
      const OwnedFd about(
          open((path + ".txt").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (about) {
        CRS_CHECK(write_all(about.get(), file.path() + "\nfrom byte " + std::to_string(file.size()) + " on\n",
                            path + ".txt"));
      }
      return path;
    }
    return Error(Errc::storage, "too many files in " + folder);
  }

  state::RegularFiles state_;
};

}  // namespace

extern constinit const KindInfo kind_regular_files{
    .section = "regular_files", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<RegularFilesKind>();
    }};

}  // namespace crs
