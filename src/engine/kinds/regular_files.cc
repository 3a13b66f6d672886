// SPDX-License-Identifier: Apache-2.0
// Regular files: open files with a path, and small ones that were deleted while open.
//
// What this file knows
//   A restart opens the same path again. A file that the process writes and that has grown since is cut back
//   to its saved length, so that appended output equals that of an uninterrupted run; what is cut is kept
//   beside the snapshot. A file that it only reads must be what it was. All files are cut at the end of the
//   restart, when nothing else can fail. O_CREAT, O_EXCL and O_TRUNC act at open(2) only and are never used
//   again. A deleted file is saved whole, up to a limit, and made again without a name in its old directory
//   (O_TMPFILE) or, where that cannot be, in memory.
// What it leaves to others
//   Which descriptors share a description (descriptor_table.cc); locks (file_locks.cc).
//
// Kernel interfaces: open(2), proc(5) fdinfo, fcntl(2).   Round trip: tests/targets/regular_files_*.cc
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "engine/kinds/regular_files.pb.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

constexpr std::string_view deleted_mark = " (deleted)";
constexpr std::uint64_t largest_deleted = 16u << 20;  // bytes
constexpr long proc_magic = 0x9fa0;
constexpr long sysfs_magic = 0x62656572;
constexpr std::uint32_t acting_at_open = O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY;
constexpr std::uint32_t kept_flags =
    O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT | O_NOATIME | O_LARGEFILE | O_NOFOLLOW;

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
    if (file.path.starts_with("/memfd:") || file.path.starts_with("/SYSV")) return false;
    struct statfs system {};
    if (file.local < 0 || fstatfs(file.local, &system) != 0) return true;
    return system.f_type != proc_magic && system.f_type != sysfs_magic;
  }

  Status collect(CollectContext&) override { return ok(); }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    state::RegularFile saved;
    saved.set_id(file.id);
    saved.set_path(file.path);
    saved.set_flags(file.flags & ~acting_at_open);
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
    check_owner(context, file);
    struct stat named {};
    const bool same = stat(file.path.c_str(), &named) == 0 && named.st_ino == file.status.st_ino &&
                      named.st_dev == file.status.st_dev;
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

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.files(), [id](const auto& file) { return file.id() == id; });
    if (found == state_.files().end()) return Error(Errc::bad_snapshot, "an open file is missing");
    CRS_TRY(OwnedFd fd, found->deleted() ? make_deleted(*found) : open_again(*found));
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

  static void check_owner(CollectContext& context, const OpenFile& file) {
    if ((file.flags & O_ASYNC) == 0) return;
    context.blockers.add(fd_names(file), "it sends a signal when it is ready (O_ASYNC)",
                         "this cannot be restored yet");
  }

  Status save_deleted(CollectContext& context, const OpenFile& file, state::RegularFile& saved) {
    std::string path = file.path;
    if (path.ends_with(deleted_mark)) path.resize(path.size() - deleted_mark.size());
    saved.set_path(path);
    saved.set_deleted(true);
    if (file.status.st_nlink != 0) {
      context.blockers.add(fd_names(file),
                           "it was renamed, or its directory was, or another file has its name",
                           "give it the name back under which the program opened it");
      return ok();
    }
    // st_blocks counts 512 bytes. Holes would come back as zeros that take room.
    if (static_cast<std::uint64_t>(file.status.st_blocks) * 512 < saved.size() && saved.size() > page_size) {
      context.blockers.add(fd_names(file), "it was deleted while the program uses it, and it has holes",
                           "such files cannot be saved yet; let the program close it before the checkpoint");
      return ok();
    }
    if (saved.size() > largest_deleted) {
      context.blockers.add(fd_names(file),
                           "it was deleted while the program uses it, and its " +
                               std::to_string(saved.size() >> 20) +
                               " MiB are more than the 16 MiB that are saved of such files",
                           "let the program close it before the checkpoint");
      return ok();
    }
    const auto earlier = std::ranges::find_if(state_.files(), [&](const auto& other) {
      return other.deleted() && other.inode() == saved.inode() && other.device() == saved.device();
    });
    if (earlier != state_.files().end()) return ok();  // its content is there already
    // A copy of our own of a description that may only write cannot read; /proc lets us open it anew.
    CRS_TRY(const OwnedFd fd,
            context.target.proc().open_entry("fd/" + std::to_string(file.fds.front().v), O_RDONLY));
    Bytes content(saved.size());
    CRS_CHECK(pread_exact(fd.get(), content, 0, path));
    saved.set_content(content.data(), content.size());
    return ok();
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
    if (size > file.size() && context.options.files == FilesPolicy::refuse) {
      block("it has grown by " + std::to_string(size - file.size()) + " bytes since the checkpoint",
            "--files rollback cuts it back to its old length and keeps what is cut; --files keep leaves it "
            "as it is");
    }
  }

  static Result<OwnedFd> open_again(const state::RegularFile& file) {
    auto fd = open_file(file.path(), static_cast<int>(file.flags()) | O_NOCTTY);
    if (!fd && (file.flags() & O_NOATIME) != 0 && fd.error().error_number() == EPERM) {
      return open_file(file.path(), (static_cast<int>(file.flags()) & ~O_NOATIME) | O_NOCTTY);
    }
    return fd;
  }

  // One nameless file for all descriptions of it, opened anew for each.
  Result<OwnedFd> make_deleted(const state::RegularFile& file) {
    OwnedFd& made = nameless_[{file.device(), file.inode()}];
    if (!made) {
      const auto whole = std::ranges::find_if(state_.files(), [&](const auto& other) {
        return other.deleted() && other.inode() == file.inode() && other.device() == file.device() &&
               !other.content().empty();
      });
      const std::string directory = file.path().substr(0, std::max<std::size_t>(1, file.path().rfind('/')));
      // Under its old name for a moment if that is free, so that /proc shows it as before.
      made = OwnedFd(open(file.path().c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (made) unlink(file.path().c_str());
      if (!made)
        made = OwnedFd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, file.mode()));
      if (!made) made = OwnedFd(memfd_create("crs-deleted-file", MFD_CLOEXEC));
      if (!made) return Error::from_errno(errno, "make a file without a name for " + file.path());
      if (whole != state_.files().end()) CRS_CHECK(write_all(made.get(), whole->content(), file.path()));
      if (ftruncate(made.get(), static_cast<off_t>(file.size())) != 0)
        return Error::from_errno(errno, "truncate " + file.path());
      CRS_CHECK(give_back_attributes(made.get(), file));
    }
    return open_file("/proc/self/fd/" + std::to_string(made.get()), static_cast<int>(file.flags()));
  }

  static Status give_back_attributes(int fd, const state::RegularFile& file) {
    struct stat now {};
    if (fstat(fd, &now) != 0) return Error::from_errno(errno, "stat");
    if ((now.st_uid != file.uid() || now.st_gid != file.gid()) && fchown(fd, file.uid(), file.gid()) != 0) {
      return Error::from_errno(errno, "give the deleted file " + file.path() + " back its owner");
    }
    // Writing and a new owner take the set-user-id bits away (chown(2), write(2)): the mode comes after both.
    if (fchmod(fd, file.mode()) != 0) return Error::from_errno(errno, "chmod " + file.path());
    const timespec mtime{file.mtime_ns() / 1'000'000'000, file.mtime_ns() % 1'000'000'000};
    const timespec times[2] = {{0, UTIME_OMIT}, mtime};
    if (futimens(fd, times) != 0) return Error::from_errno(errno, "set the time of " + file.path());
    return ok();
  }

  // Keeps the tail beside the snapshot, then cuts.
  static Status cut_back(CommitContext& context, const state::RegularFile& file) {
    CRS_TRY(const OwnedFd fd, open_file(file.path(), O_RDWR | O_NOCTTY));
    struct stat now {};
    if (fstat(fd.get(), &now) != 0) return Error::from_errno(errno, "stat");
    const auto size = static_cast<std::uint64_t>(now.st_size);
    if (size <= file.size()) return ok();
    CRS_TRY(const std::string kept, keep_tail(context.snapshot.path(), file, fd.get(), size));
    if (ftruncate(fd.get(), static_cast<off_t>(file.size())) != 0)
      return Error::from_errno(errno, "cut back");
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
  std::map<std::pair<std::uint64_t, std::uint64_t>, OwnedFd> nameless_;
};

}  // namespace

extern constinit const KindInfo kind_regular_files{
    .section = "regular_files", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<RegularFilesKind>();
    }};

}  // namespace crs
