// SPDX-License-Identifier: Apache-2.0
// Regular files: open files with a path.
//
// What this file knows
//   A restart opens the same path again. A file that the process writes and that has grown since is cut back
//   to its saved length, so that appended output equals that of an uninterrupted run; what is cut is kept
//   beside the snapshot (kept_tails.h). That is right only where everything since went behind the old end. It
//   did where the old bytes are all there still. Of a long file only its first and last part are known
//   (file_content.h); there it did if these are there still and the program writes to the end alone: with
//   O_APPEND, or from a position at the end, and not through memory. What such a program wrote into the
//   middle of a long file with pwrite(2) is not seen once it has grown as well. A file that was rewritten is
//   never cut. A file that it only reads must be what it was: size, mtime, and where inode or ctime are
//   others, content. The same name may lead to another file by now (a log that was rotated away); it is the
//   old one if it holds the same. All files are cut at the end of the restart, when nothing else can fail;
//   all of them are looked at again before the first one is cut. A copy of the program that still writes one
//   must not lose what it writes. In a pid namespace of its own the restart cannot see that copy any more, so
//   it remembers the one it saw before. O_CREAT, O_EXCL and O_TRUNC act at open(2) only and are never used
//   again.
// What it leaves to others
//   Which descriptors share a description (descriptor_table.cc); locks (file_locks.cc); the content of files
//   without a name (deleted_files.h).
//
// Kernel interfaces: open(2), proc(5) fdinfo, fcntl(2).   Round trip: tests/targets/regular_files_*.cc
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "engine/deleted_files.h"
#include "engine/file_content.h"
#include "engine/kept_tails.h"
#include "engine/kinds/regular_files.pb.h"
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

// path -> "process 4711 (rows)": who writes it and has the same command, and so may be the same program. The
// process that we are making, or that we will replace, is not meant.
std::map<std::string, std::string> find_writers(const std::string& command,
                                                const std::set<std::string>& paths, Pid replaced) {
  std::map<std::string, std::string> found;
  const auto own = read_link("/proc/self");
  const auto entries = list_directory("/proc");
  if (paths.empty() || !own || !entries) return found;
  for (const std::string& entry : *entries) {
    const auto number = parse_number(entry);
    if (!number || entry == *own || *number == static_cast<std::uint64_t>(replaced.v)) continue;
    const auto proc = ProcDir::open(Pid(static_cast<pid_t>(*number)));
    const auto stat = proc ? proc->stat() : Result<ProcStat>(Error(proc.error()));
    if (!stat || stat->comm != command) continue;
    const auto status = proc->status();
    if (status && std::to_string(status->number("TracerPid").value_or(0)) == *own) continue;
    const auto fds = proc->fds();
    if (!fds) continue;
    for (const RemoteFd fd : *fds) {
      const auto link = proc->read_link("fd/" + std::to_string(fd.v));
      if (!link || !paths.contains(*link)) continue;
      const auto fdinfo = proc->read("fdinfo/" + std::to_string(fd.v));
      const auto flags = fdinfo ? ProcFields::parse(*fdinfo).number("flags", 8).value_or(0) : 0;
      if ((flags & O_ACCMODE) != O_RDONLY) found.insert({*link, "process " + entry + " (" + command + ")"});
    }
  }
  return found;
}

// What became of a file that the program writes.
enum class History : std::uint8_t {
  unchanged,
  appended,   // and nothing else
  rewritten,  // old bytes are gone
  unclear,    // somebody wrote to it, perhaps behind its old end only
  replaced,   // it is another file
};

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

  // What is refused is not read: a reader is seen by whoever watches the file.
  Status collect(CollectContext& context) override {
    if (context.writer == nullptr || !context.blockers.empty()) return ok();
    Allowance allowance;
    for (auto& file : *state_.mutable_files()) {
      const auto found = to_read_.find({file.device(), file.inode()});
      if (file.deleted() || found == to_read_.end()) continue;
      const auto number = found->second.first;
      const auto index = found->second.second;
      if (index == file.id()) {
        file.set_mapped_shared(is_mapped_shared(context.target, file.inode()));
        const std::string entry = "fd/" + std::to_string(number.v);
        auto fd = context.target.proc().open_entry(entry, O_RDONLY | O_NONBLOCK | O_NOATIME);
        if (!fd) fd = context.target.proc().open_entry(entry, O_RDONLY | O_NONBLOCK);
        if (fd) *file.mutable_content() = content_of_file(fd->get(), file.size(), allowance);
        continue;
      }
      const auto first =
          std::ranges::find_if(state_.files(), [&](const auto& other) { return other.id() == index; });
      file.set_mapped_shared(first->mapped_shared());
      *file.mutable_content() = first->content();
    }
    return ok();
  }

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
    saved.set_ctime_ns(nanoseconds(file.status.st_ctim));
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
    // To open a file once more would break the program's own lease on it.
    if (same && file.fdinfo.find("LEASE") == std::string::npos)
      to_read_.insert({{saved.device(), saved.inode()}, {file.fds.front(), file.id}});
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
      CRS_CHECK(check_content(file.content(), file.size()).context(file.path()));
      if (file.deleted() && file.deleted_file() == 0) {
        return Error(Errc::bad_snapshot,
                     "the content of the deleted file " + file.path() + " is not where it should be")
            .with_hint("restart it with the crs that made the snapshot");
      }
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    std::set<std::string> written, done;
    for (const auto& file : state_.files()) {
      if (!file.deleted() && !context.is_replaced(file.id()) && is_written(file)) written.insert(file.path());
    }
    if (context.options.files == FilesPolicy::rollback)
      writers_ = find_writers(context.snapshot.manifest().command, written, context.options.replaced);
    for (const auto& file : state_.files()) {
      if (file.deleted() || context.is_replaced(file.id()) || !done.insert(file.path()).second) continue;
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

  // Positions can be put back, and lengths are by commit().
  Result<bool> can_rewind_from(std::string_view now) const override {
    state::RegularFiles other;
    CRS_CHECK(from_section(now, other));
    return without_changes(state_).SerializeAsString() == without_changes(other).SerializeAsString();
  }
  Status rewind(RewindContext& context) override {
    for (const auto& file : state_.files()) {
      const auto fd = context.descriptor_of(file.id());
      if (!fd) return Error(Errc::bug, file.path() + " has no descriptor");
      context.calls.leader().call("go to the old position in " + file.path(), SYS_lseek, *fd, file.position(),
                                  SEEK_SET);
    }
    return ok();
  }

  Status commit(CommitContext& context) override {
    if (context.options.files != FilesPolicy::rollback) return ok();
    std::vector<Cut> cuts;
    std::set<std::string> paths;
    KeptTails tails(context.snapshot.path());
    for (const auto& file : state_.files()) {
      if (file.deleted() || context.is_replaced(file.id()) || !is_written(file) ||
          paths.contains(file.path()))
        continue;
      CRS_TRY(auto cut, plan_cut(context, file, tails));
      if (!cut) continue;
      paths.insert(file.path());
      cuts.push_back(std::move(*cut));
    }
    if (cuts.empty()) return ok();
    auto writers = find_writers(context.snapshot.manifest().command, paths, context.options.replaced);
    writers.insert(writers_.begin(), writers_.end());
    for (const Cut& cut : cuts) CRS_CHECK(check_quiet(cut, writers));
    tails.stay();
    for (const Cut& cut : cuts) CRS_CHECK(cut_back(context, cut).context(cut.file->path()));
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
  static bool is_mapped_shared(const FrozenProcess& target, std::uint64_t inode) {
    return std::ranges::any_of(target.vmas(),
                               [&](const Vma& vma) { return vma.shared && vma.inode == inode; });
  }

  // What a program that goes on changes, and a rollback undoes.
  static state::RegularFiles without_changes(state::RegularFiles files) {
    for (auto& file : *files.mutable_files()) {
      file.clear_position();
      file.clear_size();
      file.clear_mtime_ns();
      file.clear_ctime_ns();
      file.clear_content();
      file.clear_mapped_shared();
    }
    return files;
  }

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

  // Whatever it writes goes to the end: by its position then, and with `always` wherever it has gone since.
  bool writes_to_the_end(const state::RegularFile& file, bool always) const {
    return !file.mapped_shared() && std::ranges::none_of(state_.files(), [&](const auto& other) {
      const bool at_end = !always && static_cast<std::uint64_t>(other.position()) == other.size();
      return writes(other) && other.inode() == file.inode() && other.device() == file.device() &&
             (other.flags() & O_APPEND) == 0 && !at_end;
    });
  }

  // `now` is no shorter than then; `fd` is -1 where it cannot be read.
  History history_of(const state::RegularFile& file, const struct stat& now, int fd, bool any_file) const {
    const Sameness content = fd < 0 ? Sameness::unknown : compare_content(file.content(), fd);
    const bool grown = static_cast<std::uint64_t>(now.st_size) > file.size();
    const bool untouched = !grown && nanoseconds(now.st_mtim) == file.mtime_ns();
    const History harmless = grown ? History::appended : History::unchanged;
    if (now.st_ino != file.inode() && !any_file && content != Sameness::same &&
        (!untouched || content == Sameness::changed))
      return History::replaced;
    if (content == Sameness::changed) return History::rewritten;
    if (content == Sameness::same || untouched) return harmless;
    if (writes_to_the_end(file, true)) return harmless;
    if (grown && writes_to_the_end(file, false)) return History::appended;
    return History::unclear;
  }

  void check_file(CheckContext& context, const state::RegularFile& file) {
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
    const auto fd = open_file(file.path(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (is_written(file)) return check_written(context, file, now, fd ? fd->get() : -1);
    if (may_change) return;
    bool changed = size != file.size() || nanoseconds(now.st_mtim) != file.mtime_ns();
    // A new name or other permissions give it another ctime as well, a copy another inode.
    const bool suspect =
        file.has_ctime_ns() && (now.st_ino != file.inode() || nanoseconds(now.st_ctim) != file.ctime_ns());
    if (suspect && !changed && fd) changed = compare_content(file.content(), fd->get()) == Sameness::changed;
    if (changed) {
      block("the program reads it, and it was changed since the checkpoint",
            put_back + ", or restart with --allow-changed-files");
    }
  }

  void check_written(CheckContext& context, const state::RegularFile& file, const struct stat& now, int fd) {
    const auto size = static_cast<std::uint64_t>(now.st_size);
    const bool refuses = context.options.files == FilesPolicy::refuse;
    const auto block = [&](const std::string& reason, const std::string& remedy) {
      context.blockers.add("file " + file.path(), reason, remedy);
    };
    if (size < file.size()) return;  // and that is allowed
    switch (history_of(file, now, fd, context.options.allow_changed_files)) {
      case History::unchanged: return;
      case History::appended: {
        if (refuses) {
          return block(
              "it has grown by " + std::to_string(size - file.size()) + " bytes since the checkpoint",
              "--files rollback cuts it back to its old length and keeps what is cut; --files keep "
              "leaves it as it is");
        }
        const auto writer = writers_.find(file.path());
        if (context.options.files == FilesPolicy::rollback && writer != writers_.end())
          block(still_written(writer->second), end_it_first);
        return;
      }
      case History::replaced: {
        const std::string reason = "it is another file than at the checkpoint, and holds something else";
        if (context.options.files == FilesPolicy::keep)
          return context.blockers.note(file.path() + ": " + reason);
        return block(reason + "; the program would write into it",
                     "put the old one back, or restart with --files keep, or with --allow-changed-files if "
                     "this is a copy of it");
      }
      case History::rewritten:
      case History::unclear: {
        const std::string reason = what_happened(file, now, fd);
        if (refuses) return block(reason, "put the file back as it was, or restart without --files refuse");
        told_.insert(file.path());
        return context.blockers.note(file.path() + ": " + reason + not_put_back(file, size));
      }
    }
  }

  std::string what_happened(const state::RegularFile& file, const struct stat& now, int fd) const {
    if (history_of(file, now, fd, true) == History::rewritten)
      return "what it held at the checkpoint was overwritten since";
    if (writes_to_the_end(file, false)) return "it was written to since the checkpoint";
    return "the program writes in the middle of it, and it was written to since the checkpoint";
  }

  static std::string not_put_back(const state::RegularFile& file, std::uint64_t size) {
    const std::string cut = size > file.size() ? "nothing is cut off it, and " : "it cannot be put back, so ";
    return "; " + cut + "the program may find there what is newer than itself";
  }

  static std::string still_written(const std::string& writer) {
    return "it has grown since the checkpoint and would be cut back, and " + writer +
           ", which may be the same program, is writing it";
  }
  static constexpr const char* end_it_first = "end that process first, or restart with --files keep";

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
    if (file.path().starts_with(memory_file_prefix) && (file.flags() & O_ACCMODE) == O_RDWR) {
      if (OwnedFd first = context.deleted_files->take_first(file.deleted_file() - 1)) {
        if (fcntl(first.get(), F_SETFL, file.flags()) != 0)
          return Error::from_errno(errno, "set the flags of " + file.path());
        return first;
      }
    }
    return open_file("/proc/self/fd/" + std::to_string(made),
                     static_cast<int>(file.flags() & ~std::uint32_t{O_TMPFILE}));
  }

  struct Cut {
    const state::RegularFile* file;
    OwnedFd fd;
    std::uint64_t size;  // bytes, now
    std::string kept;    // where what is cut off is kept
  };

  // Looks again at the file, and keeps what is to be cut off; nullopt: nothing is.
  Result<std::optional<Cut>> plan_cut(CommitContext& context, const state::RegularFile& file,
                                      KeptTails& tails) {
    struct stat now {};
    if (stat(file.path().c_str(), &now) != 0) return Error::from_errno(errno, "look again at " + file.path());
    if (static_cast<std::uint64_t>(now.st_size) <= file.size()) return std::optional<Cut>();
    auto opened = open_file(file.path(), O_RDWR | O_NONBLOCK | O_NOCTTY);
    if (!opened) {
      Error error = std::move(opened).error();
      return std::move(error.add_context("cut back").set_hint("--files keep leaves the files as they are"));
    }
    Cut cut{&file, std::move(*opened), 0, {}};
    if (fstat(cut.fd.get(), &now) != 0) return Error::from_errno(errno, "stat " + file.path());
    cut.size = static_cast<std::uint64_t>(now.st_size);
    if (cut.size <= file.size()) return std::optional<Cut>();
    switch (history_of(file, now, cut.fd.get(), context.options.allow_changed_files)) {
      case History::unchanged: return std::optional<Cut>();
      case History::replaced: return while_restarting(file, "was replaced by another file");
      case History::rewritten:
      case History::unclear:
        if (told_.insert(file.path()).second)
          context.note(file.path() + ": " + what_happened(file, now, cut.fd.get()) +
                       not_put_back(file, cut.size));
        return std::optional<Cut>();
      case History::appended: break;
    }
    CRS_TRY(cut.kept, tails.keep(cut.fd.get(), file.path(), file.size(), cut.size));
    return std::optional<Cut>(std::move(cut));
  }

  static Error while_restarting(const state::RegularFile& file, const std::string& what) {
    return Error(Errc::refused, "file " + file.path() + " " + what + " while the restart was under way")
        .with_hint("nothing was cut; end whoever writes it, or restart with --files keep");
  }

  static Status check_quiet(const Cut& cut, const std::map<std::string, std::string>& writers) {
    const auto writer = writers.find(cut.file->path());
    if (writer != writers.end()) {
      return Error(Errc::refused, "file " + cut.file->path() + ": " + still_written(writer->second))
          .with_hint(end_it_first);
    }
    struct stat now {};
    if (fstat(cut.fd.get(), &now) != 0) return Error::from_errno(errno, "stat " + cut.file->path());
    if (static_cast<std::uint64_t>(now.st_size) == cut.size) return ok();
    return while_restarting(*cut.file, "was written to");
  }

  static Status cut_back(CommitContext& context, const Cut& cut) {
    const state::RegularFile& file = *cut.file;
    if (ftruncate(cut.fd.get(), static_cast<off_t>(file.size())) != 0)
      return Error::from_errno(errno, "cut back");
    // It is what it was, and another restart shall see that; whoever may only write to it may not set its
    // time.
    const timespec times[2] = {{0, UTIME_OMIT},
                               {file.mtime_ns() / 1'000'000'000, file.mtime_ns() % 1'000'000'000}};
    (void)futimens(cut.fd.get(), times);
    context.note(file.path() + " had grown by " + std::to_string(cut.size - file.size()) +
                 " bytes since the checkpoint and was cut back; what was cut is kept in " + cut.kept);
    return ok();
  }

  state::RegularFiles state_;
  // Device and inode -> a descriptor of the target, and the id of its description.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::pair<RemoteFd, std::uint32_t>> to_read_;
  std::map<std::string, std::string> writers_;  // at check(): see find_writers()
  std::set<std::string> told_;                  // paths of which it was said that they are not cut
};

}  // namespace

extern constinit const KindInfo kind_regular_files{
    .section = "regular_files", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<RegularFilesKind>();
    }};

}  // namespace crs
