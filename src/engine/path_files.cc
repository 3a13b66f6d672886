// SPDX-License-Identifier: Apache-2.0
#include "engine/path_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <vector>

#include "engine/obstacles.h"

namespace crs {
namespace {

constexpr std::string_view deleted_mark = " (deleted)";  // the kernel's, behind the name
constexpr std::uint32_t acting_at_open = O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY;

std::string name_of(const OpenFile& file) {
  return "fd " + std::to_string(file.fds.front().v) + " (" + file.path + ")";
}

bool is_same(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int status_of(const std::string& path, std::uint32_t mode, struct stat& status) {
  return fstatat(AT_FDCWD, path.c_str(), &status, S_ISLNK(mode) ? AT_SYMLINK_NOFOLLOW : 0);
}

bool may_be_made_by_us(const state::PathFile& file) {
  if (geteuid() == 0) return true;
  return !S_ISCHR(file.mode()) && file.uid() == geteuid() && file.gid() == getegid();
}

// Makes it under a name for the moment in which it is opened and gets its attributes.
class Momentary {
 public:
  Momentary(const state::PathFile& file, std::string path) : file_(file), path_(std::move(path)) {}
  Momentary(const Momentary&) = delete;
  Momentary& operator=(const Momentary&) = delete;
  ~Momentary() { (void)remove(); }

  // false: there is no such place, or the name is taken.
  bool make(bool with_parents) {
    if (with_parents) make_parents();
    if (S_ISDIR(file_.mode())) {
      made_ = mkdir(path_.c_str(), 0700) == 0;
    } else if (S_ISLNK(file_.mode())) {
      made_ = symlink(file_.link().c_str(), path_.c_str()) == 0;
    } else {
      made_ = mknod(path_.c_str(), S_IFCHR | 0600, file_.device()) == 0;
    }
    return made_;
  }

  Result<OwnedFd> open() const {
    CRS_TRY(OwnedFd fd, open_file(path_, static_cast<int>(file_.flags()) | O_NOCTTY));
    const auto failed = [this](const char* what) { return Error::from_errno(errno, what + file_.path()); };
    if (lchown(path_.c_str(), file_.uid(), file_.gid()) != 0) return failed("give back the owner of ");
    if (!S_ISLNK(file_.mode()) && chmod(path_.c_str(), file_.mode() & 07777) != 0) return failed("chmod ");
    const timespec mtime{file_.mtime_ns() / 1'000'000'000, file_.mtime_ns() % 1'000'000'000};
    const timespec times[2] = {{0, UTIME_OMIT}, mtime};
    if (utimensat(AT_FDCWD, path_.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return failed("set the time of ");
    return fd;
  }

  Status remove() {
    Status result;
    if (std::exchange(made_, false)) {
      const int removed = S_ISDIR(file_.mode()) ? rmdir(path_.c_str()) : unlink(path_.c_str());
      if (removed != 0) result = Error::from_errno(errno, "remove " + path_);
    }
    for (; !parents_.empty(); parents_.pop_back()) {
      // Somebody may have put something into it meanwhile: then it stays.
      if (rmdir(parents_.back().c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST && result) {
        result = Error::from_errno(errno, "remove " + parents_.back());
      }
    }
    return result;
  }

 private:
  void make_parents() {
    std::vector<std::string> missing;
    std::filesystem::path parent = std::filesystem::path(path_).parent_path();
    struct stat status {};
    for (; parent != "/" && lstat(parent.c_str(), &status) != 0; parent = parent.parent_path()) {
      missing.push_back(parent);
    }
    for (; !missing.empty(); missing.pop_back()) {
      if (mkdir(missing.back().c_str(), 0700) != 0) return;
      parents_.push_back(missing.back());
    }
  }

  const state::PathFile& file_;
  std::string path_;
  std::vector<std::string> parents_;
  bool made_ = false;
};

}  // namespace

std::uint32_t PathFilesKind::allowed_flags() const {
  return O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_LARGEFILE | O_NOATIME | O_SYNC | O_NOFOLLOW;
}

Status PathFilesKind::collect_file(CollectContext& context, const OpenFile& file) {
  state::PathFile saved;
  saved.set_id(file.id);
  saved.set_path(file.path);
  saved.set_flags(file.flags & ~acting_at_open);
  saved.set_position(file.position);
  saved.set_inode(file.status.st_ino);
  saved.set_mode(file.status.st_mode);
  saved.set_device(file.status.st_rdev);
  if ((saved.flags() & ~allowed_flags()) != 0) {
    context.blockers.add(name_of(file), "it was opened with a flag that cannot be restored",
                         "let the program close it first");
  }
  struct stat named {};
  const bool there = status_of(file.path, file.status.st_mode, named) == 0 && is_same(named, file.status);
  if (!there && !collect_deleted(context, file, saved)) {
    const Obstacle why = find_obstacle(file.path).value_or(
        Obstacle{"it was deleted or renamed while the program has it open", "give it its name back"});
    context.blockers.add(name_of(file), why.reason, why.remedy);
  }
  *state_.add_files() = std::move(saved);
  return ok();
}

bool PathFilesKind::collect_deleted(CollectContext& context, const OpenFile& file,
                                    state::PathFile& saved) const {
  if (file.status.st_nlink != 0 || !can_be_made(saved.mode(), saved.device())) return false;
  saved.set_deleted(true);
  saved.set_file_system(file.status.st_dev);
  saved.set_uid(file.status.st_uid);
  saved.set_gid(file.status.st_gid);
  saved.set_mtime_ns(file.status.st_mtim.tv_sec * 1'000'000'000 + file.status.st_mtim.tv_nsec);
  if (file.path.ends_with(deleted_mark)) {
    saved.set_path(file.path.substr(0, file.path.size() - deleted_mark.size()));
  }
  struct stat working {};
  const bool known = fstatat(context.target.proc().fd(), "cwd", &working, 0) == 0;
  saved.set_is_working_directory(known && is_same(working, file.status));
  if (saved.is_working_directory()) return true;
  if (S_ISLNK(saved.mode())) {
    char target[4096];
    const ssize_t length = file.local < 0 ? -1 : readlinkat(file.local, "", target, sizeof target);
    if (length <= 0 || length == static_cast<ssize_t>(sizeof target)) return false;
    saved.set_link(target, static_cast<std::size_t>(length));
    // A second description could not be made of the first.
    if (std::ranges::any_of(state_.files(), [&](const state::PathFile& other) {
          return other.deleted() && other.inode() == saved.inode() &&
                 other.file_system() == saved.file_system();
        }))
      return false;
  }
  return may_be_made_by_us(saved);
}

Status PathFilesKind::load(std::string_view bytes) {
  CRS_CHECK(from_section(bytes, state_));
  for (const auto& file : state_.files()) {
    if (file.path().empty() || file.path()[0] != '/' || file.path().find('\0') != std::string::npos) {
      return Error(Errc::bad_snapshot, "an open file has an impossible path");
    }
    if ((file.flags() & ~allowed_flags()) != 0) {
      return Error(Errc::bad_snapshot, file.path() + ": unknown flags");
    }
    if (!file.deleted()) continue;
    const bool link_fits = file.link().size() < 4096 && file.link().find('\0') == std::string::npos;
    if (!can_be_made(file.mode(), file.device()) || !link_fits ||
        (S_ISLNK(file.mode()) && file.link().empty())) {
      return Error(Errc::bad_snapshot, file.path() + " is described wrongly");
    }
  }
  return ok();
}

Status PathFilesKind::check(CheckContext& context) {
  for (const auto& file : state_.files()) {
    if (context.is_replaced(file.id())) continue;
    if (file.deleted()) {
      if (file.is_working_directory() || may_be_made_by_us(file)) continue;
      context.blockers.add(file.path(),
                           "it was deleted while the program has it open, and belongs to another user",
                           "restart it as root");
      continue;
    }
    struct stat now {};
    if (fstatat(AT_FDCWD, file.path().c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) {
      context.blockers.add(file.path(), "the program has it open, and it is not there any more",
                           "put it back");
      continue;
    }
    // Of version 0.1.0 and before we know no type.
    if (file.mode() == 0 || status_of(file.path(), file.mode(), now) != 0) continue;
    if ((now.st_mode & S_IFMT) == (file.mode() & S_IFMT) && now.st_rdev == file.device()) continue;
    context.blockers.add(file.path(), "the program has it open, and something else has its name now",
                         "put it back");
  }
  return ok();
}

Result<OwnedFd> PathFilesKind::restore_file(InsideContext& context, std::uint32_t id) {
  const auto found = std::ranges::find_if(state_.files(), [id](const auto& file) { return file.id() == id; });
  if (found == state_.files().end()) return Error(Errc::bad_snapshot, "an open file is missing");
  if (found->deleted()) {
    CRS_TRY(OwnedFd fd, open_deleted(context, *found));
    (void)after_open(fd.get(), *found);  // it is empty: no position in it means anything
    return fd;
  }
  CRS_TRY(OwnedFd fd, open_file(found->path(), static_cast<int>(found->flags()) | O_NOCTTY));
  CRS_CHECK(after_open(fd.get(), *found));
  return fd;
}

Result<OwnedFd> PathFilesKind::open_deleted(InsideContext& context, const state::PathFile& file) {
  const int flags = static_cast<int>(file.flags());
  if (file.is_working_directory()) return open_file(".", flags);
  OwnedFd& first = made_[{file.file_system(), file.inode()}];
  if (first) {
    // The link in /proc is one that O_NOFOLLOW would not follow, were it the last part of the path.
    const std::string again = "/proc/self/fd/" + std::to_string(first.get());
    return S_ISDIR(file.mode()) && (flags & O_NOFOLLOW) != 0 ? open_file(again + "/.", flags)
                                                             : open_file(again, flags & ~O_NOFOLLOW);
  }

  const std::string hidden = ".crs-deleted-" + to_string(context.ns_pid) + "-" + std::to_string(file.id());
  std::filesystem::path parent = std::filesystem::path(file.path()).parent_path();
  struct stat status {};
  while (parent != "/" && stat(parent.c_str(), &status) != 0) parent = parent.parent_path();
  int error = 0;
  for (const std::string& path : {file.path(), (parent / hidden).string(), "/tmp/" + hidden}) {
    Momentary momentary(file, path);
    if (!momentary.make(path == file.path())) {
      error = errno;
      continue;
    }
    CRS_TRY(OwnedFd fd, momentary.open());
    CRS_CHECK(momentary.remove());
    if (!S_ISLNK(file.mode())) {
      first = OwnedFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
      if (!first) return Error::from_errno(errno, "keep " + file.path() + " open");
    }
    return fd;
  }
  return Error::from_errno(error, "make " + file.path() + ", which was deleted while it was open");
}

nlohmann::json PathFilesKind::describe() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& file : state_.files()) {
    list.push_back({{"path", file.path() + std::string(file.deleted() ? deleted_mark : "")}});
  }
  return list;
}

}  // namespace crs
