// SPDX-License-Identifier: Apache-2.0
#include "engine/deleted_files.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "engine/file_spaces.h"
#include "engine/obstacles.h"
#include "engine/other_processes.h"

namespace crs {
namespace {

constexpr std::string_view deleted_mark = " (deleted)";  // the kernel's, behind the name
constexpr std::uint32_t known_seals =
    F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | 0x20 /* F_SEAL_EXEC */;
constexpr std::uint64_t largest_size = std::uint64_t{1} << 62;
constexpr std::uint32_t lasting_flags =
    O_ACCMODE | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT | O_NOATIME;
constexpr std::uint64_t chunk_bytes = store::max_chunk_pages * page_size;

std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}
timespec time_of(std::int64_t nanoseconds) {
  std::int64_t seconds = nanoseconds / 1'000'000'000, rest = nanoseconds % 1'000'000'000;
  if (rest < 0) {
    --seconds;
    rest += 1'000'000'000;
  }
  return {seconds, rest};
}

std::string folder_of(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(1, path.rfind('/')));
}

// The directory itself, or the nearest above it that is there and where files can be made; empty: none.
std::string usable_folder(const std::string& path) {
  for (std::string folder = folder_of(path);; folder = folder_of(folder)) {
    if (access(folder.c_str(), F_OK) == 0)
      return access(folder.c_str(), W_OK | X_OK) == 0 ? folder : std::string();
    if (folder == "/") return {};
  }
}

// An open file without a name, readable and writable.
Result<OwnedFd> open_nameless(const state::DeletedFile& file) {
  const std::string folder = usable_folder(file.path());
  if (folder.empty())
    return Error(Errc::refused, "no directory to make the deleted file " + file.path() + " in");
  const int tmpfile = O_TMPFILE | O_RDWR;
  const int make = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY;
  std::string path = file.path();
  auto fd = folder == folder_of(path) ? open_file(path, make, 0600)
                                      : Result<OwnedFd>(Error(Errc::not_found, folder));
  if (!fd) {
    if (auto unnamed = open_file(folder, tmpfile, 0600)) return unnamed;
  }
  for (int attempt = 0; !fd && attempt < 100; ++attempt) {
    path = (folder == "/" ? "" : folder) + "/.crs-deleted-" + std::to_string(getpid()) + "-" +
           std::to_string(attempt);
    fd = open_file(path, make, 0600);
    if (!fd && fd.error().error_number() != EEXIST) return fd;
  }
  if (fd && unlink(path.c_str()) != 0) return Error::from_errno(errno, "unlink " + path);
  return fd;
}

constexpr std::string_view access_list = "system.posix_acl_access";

// A memory file that can be sealed and executed; what it was not allowed, its seals will tell.
Result<OwnedFd> make_in_memory(const state::DeletedFile& file) {
  const std::string name = file.path().substr(memory_file_prefix.size());
  constexpr unsigned executable = 0x10;  // MFD_EXEC, since Linux 6.3
  OwnedFd fd(static_cast<int>(
      syscall(SYS_memfd_create, name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | executable)));
  if (!fd && errno == EINVAL) {
    fd = OwnedFd(static_cast<int>(syscall(SYS_memfd_create, name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  }
  if (!fd) return Error::from_errno(errno, "make the memory file " + name);
  return fd;
}

Status add_seals(int fd, std::uint32_t seals, const std::string& path) {
  if (seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0) return ok();
  return Error::from_errno(errno, "seal the memory file " + path);
}

// What a program may have set itself; the rest belongs to the file system and to security modules.
bool is_programs_attribute(std::string_view name) {
  return name.starts_with("user.") || name == access_list || name == "security.capability";
}

Status collect_attributes(int fd, state::DeletedFile& file) {
  std::string names(XATTR_LIST_MAX, '\0');
  const ssize_t length = flistxattr(fd, names.data(), names.size());
  if (length < 0 && errno == EOPNOTSUPP) return ok();
  if (length < 0) return Error::from_errno(errno, "list the extended attributes of a deleted file");
  names.resize(static_cast<std::size_t>(length));
  for (std::size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    if (!is_programs_attribute(name)) continue;
    std::string value(XATTR_SIZE_MAX, '\0');
    const ssize_t size = fgetxattr(fd, name.c_str(), value.data(), value.size());
    if (size < 0)
      return Error::from_errno(errno, "read the extended attribute " + name + " of a deleted file");
    value.resize(static_cast<std::size_t>(size));
    auto& saved = *file.add_attributes();
    saved.set_name(name);
    saved.set_value(std::move(value));
  }
  return ok();
}

// As a snapshot tells of it; the name of one in memory may be anything.
bool is_sound(const state::DeletedFile& file) {
  const std::string& path = file.path();
  const bool has_place = path.size() > 1 && path[0] == '/' && path.find('\0') == std::string::npos;
  const bool named = file.in_memory() ? path.starts_with(memory_file_prefix) : !path.ends_with('/');
  return has_place && named && (file.first_flags() & ~lasting_flags) == 0 && file.size() <= largest_size &&
         (file.mode() & ~07777u) == 0 && (file.seals() & ~(file.in_memory() ? known_seals : 0)) == 0 &&
         std::ranges::all_of(file.attributes(),
                             [](const auto& each) { return is_programs_attribute(each.name()); });
}

// Reads stretches of data of a file and writes them as chunks of a space.
class ContentSaver {
 public:
  ContentSaver(CollectContext& context, int fd, const state::DeletedFile& file, std::uint32_t space)
      : context_(context), fd_(fd), file_(file), space_(space) {
    if (context.writer != nullptr) data_.resize(std::min(chunk_bytes, page_up(file.size())));
  }

  // Whole pages around [begin, end); what lies behind the end of the file is zero.
  Status add(std::uint64_t begin, std::uint64_t end) {
    begin = std::max(begin & ~(std::uint64_t{page_size} - 1), done_);
    end = page_up(end);
    for (done_ = begin; done_ < end;) {
      CRS_CHECK(context_.deadline.check("a deleted file was being saved"));
      const std::uint64_t bytes = std::min(end - done_, chunk_bytes);
      if (context_.writer != nullptr) CRS_CHECK(write(done_, bytes));
      pages_ += bytes / page_size;
      done_ += bytes;
    }
    return ok();
  }
  std::uint64_t pages() const { return pages_; }

 private:
  Status write(std::uint64_t at, std::uint64_t bytes) {
    const auto chunk = std::span(data_).first(bytes);
    const std::uint64_t inside = std::min(bytes, file_.size() - at);
    CRS_CHECK(pread_exact(fd_, chunk.first(inside), at, "a deleted file"));
    std::ranges::fill(chunk.subspan(inside), std::byte{0});
    const store::PageRun run{at, static_cast<std::uint32_t>(bytes / page_size), space_};
    return context_.writer->pages().write_chunk(std::span(&run, 1), chunk);
  }

  CollectContext& context_;
  int fd_;
  const state::DeletedFile& file_;
  std::uint32_t space_;
  Bytes data_;
  std::uint64_t done_ = 0;
  std::uint64_t pages_ = 0;
};

}  // namespace

Result<std::optional<std::uint32_t>> DeletedFiles::add(CollectContext& context, RemoteFd fd,
                                                       const std::string& link, const struct stat& status,
                                                       std::uint32_t flags) {
  const std::pair key(status.st_dev, status.st_ino);
  const auto known = std::ranges::find(seen_, key);
  const auto index = static_cast<std::uint32_t>(known - seen_.begin());
  const std::uint32_t first_flags = (flags & O_TMPFILE) == O_TMPFILE ? flags & lasting_flags : 0;
  if (known != seen_.end()) {
    if (first_flags != 0) state_.mutable_files(static_cast<int>(index))->set_first_flags(first_flags);
    if (!unread_[index].empty()) CRS_CHECK(save_content(context, fd, index).context(link));
    return std::optional(index);
  }
  const std::string object = to_string(fd) + " (" + link + ")";
  if (const auto obstacle = status.st_nlink == 0 ? std::nullopt : find_obstacle(link)) {
    context.blockers.add(object, obstacle->reason, obstacle->remedy);
    return std::optional<std::uint32_t>();
  }
  if (status.st_nlink != 0) {
    context.blockers.add(
        object,
        "it was renamed or its name was removed or taken by another file, and it has a name elsewhere still",
        "give it the name back under which the program opened it (find -inum " +
            std::to_string(status.st_ino) + " finds the one it has)");
    return std::optional<std::uint32_t>();
  }
  state::DeletedFile file;
  file.set_path(link.ends_with(deleted_mark) ? link.substr(0, link.size() - deleted_mark.size()) : link);
  file.set_size(static_cast<std::uint64_t>(status.st_size));
  file.set_mode(status.st_mode & 07777);
  file.set_uid(status.st_uid);
  file.set_gid(status.st_gid);
  file.set_mtime_ns(nanoseconds(status.st_mtim));
  file.set_atime_ns(nanoseconds(status.st_atim));
  file.set_first_flags(first_flags);
  file.set_in_memory(file.path().starts_with(memory_file_prefix));
  if (!file.in_memory() && usable_folder(file.path()).empty()) {
    context.blockers.add(object,
                         "it must be made again at a restart, and this user may not make files where it was",
                         "save and restart it as a user who may, or allow writing to the directory");
    return std::optional<std::uint32_t>();
  }
  if (index >= most_deleted_files) {
    context.blockers.add(object,
                         "more than " + std::to_string(most_deleted_files) + " deleted files are open",
                         "let the program close some");
    return std::optional<std::uint32_t>();
  }
  seen_.push_back(key);
  links_.push_back(link);
  unread_.emplace_back();
  *state_.add_files() = std::move(file);
  CRS_CHECK(save_content(context, fd, index).context(object));
  return std::optional(index);
}

Status DeletedFiles::save_content(CollectContext& context, RemoteFd fd, std::uint32_t index) {
  state::DeletedFile& file = *state_.mutable_files(static_cast<int>(index));
  unread_[index].clear();
  // A description of our own: looking for data moves the position, and the program would see that in its own.
  const std::string entry = "fd/" + std::to_string(fd.v);
  auto own = context.target.proc().open_entry(entry, O_RDONLY | O_NOATIME);
  if (!own) own = context.target.proc().open_entry(entry, O_RDONLY);
  OwnedFd copy;
  if (!own) {
    // Its mode forbids it. The program's own description may be able to read; then it is read from end to
    // end.
    copy = OwnedFd(static_cast<int>(syscall(SYS_pidfd_getfd, context.target.pidfd(), fd.v, 0)));
    std::byte probe{};
    if (!copy || pread(copy.get(), &probe, 1, 0) < 0) {
      unread_[index] = own.error().message();
      return ok();
    }
  }
  if (file.in_memory()) {
    const int seals = fcntl(own ? own->get() : copy.get(), F_GET_SEALS);
    if (seals < 0) return Error::from_errno(errno, "ask for the seals of a memory file");
    file.set_seals(static_cast<std::uint32_t>(seals));
  }
  file.clear_attributes();
  CRS_CHECK(collect_attributes(own ? own->get() : copy.get(), file));
  if (geteuid() != 0 && std::ranges::any_of(file.attributes(), [](const auto& attribute) {
        return attribute.name() == access_list;
      })) {
    context.blockers.note("deleted file " + file.path() +
                          ": where its access list names other users, only root can give it back");
  }
  ContentSaver saver(context, own ? own->get() : copy.get(), file, first_file_space + index);
  if (!own) {
    CRS_CHECK(saver.add(0, file.size()));
    file.set_pages(saver.pages());
    return ok();
  }
  const auto size = static_cast<off_t>(file.size());
  for (off_t at = 0; at < size;) {
    const off_t begin = lseek(own->get(), at, SEEK_DATA);
    if (begin < 0 && errno == ENXIO) break;  // nothing but a hole up to the end
    if (begin < 0) return Error::from_errno(errno, "find the data of a deleted file");
    const off_t end = lseek(own->get(), begin, SEEK_HOLE);
    if (end <= begin) return Error::from_errno(errno, "find the holes of a deleted file");
    at = std::min(end, size);
    CRS_CHECK(saver.add(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(at)));
  }
  file.set_pages(saver.pages());
  return ok();
}

Status DeletedFiles::complete(CollectContext& context) const {
  if (seen_.empty()) return ok();
  for (std::size_t i = 0; i < unread_.size(); ++i) {
    if (unread_[i].empty()) continue;
    context.blockers.add("deleted file " + state_.files(static_cast<int>(i)).path(),
                         "its content may not be read (" + unread_[i] + ")",
                         "run crs as root, or let the program close it before the checkpoint");
  }
  std::set<std::pair<std::size_t, std::string>> told;
  const auto refuse = [&](std::size_t index, const std::string& process) {
    if (!told.insert({index, process}).second) return;
    context.blockers.add(
        "deleted file " + state_.files(static_cast<int>(index)).path(),
        process + " has it open or mapped as well",
        "end that process first: after a restart they would not have the same file any more");
  };
  CRS_CHECK(see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
    if (!other.link.ends_with(deleted_mark)) return;
    struct stat status {};
    const auto process = ProcDir::open(other.pid);
    if (!process || fstatat(process->fd(), ("fd/" + std::to_string(other.fd.v)).c_str(), &status, 0) != 0)
      return;
    const auto found = std::ranges::find(seen_, std::pair(status.st_dev, status.st_ino));
    if (found != seen_.end()) refuse(static_cast<std::size_t>(found - seen_.begin()), other.process());
  }));
  return see_other_mappings(context.target, [&](const OtherMapping& other) {
    if (!other.vma.name.ends_with(deleted_mark)) return;
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      if (seen_[i].second == other.vma.inode && links_[i] == other.vma.name) refuse(i, other.process());
    }
  });
}

Status DeletedFiles::load(std::string_view bytes) {
  CRS_CHECK(from_section(bytes, state_));
  if (state_.files_size() > static_cast<int>(most_deleted_files))
    return Error(Errc::bad_snapshot, "too many deleted files");
  for (const auto& file : state_.files()) {
    if (!is_sound(file)) return Error(Errc::bad_snapshot, "a deleted file is described wrongly");
  }
  return ok();
}

Status DeletedFiles::check(CheckContext& context) const {
  for (const auto& file : state_.files()) {
    if (file.in_memory() || !usable_folder(file.path()).empty()) continue;
    context.blockers.add("deleted file " + file.path(),
                         "it must be made again, and this user may not make files where it was",
                         "restart as a user who may");
  }
  return ok();
}

Result<int> DeletedFiles::make(const store::SnapshotReader& snapshot, std::uint32_t index) {
  if (index >= count()) return Error(Errc::bad_snapshot, "a deleted file is missing");
  made_.resize(count());
  OwnedFd& made = made_[index];
  if (made) return made.get();
  const auto& file = state_.files(static_cast<int>(index));
  first_.resize(count());
  OwnedFd fresh;
  if (file.in_memory()) {
    // What memfd_create(2) gives does not count as a writer, so that the file can be executed; what is opened
    // does.
    CRS_TRY(first_[index], make_in_memory(file));
    CRS_TRY(fresh, open_file("/proc/self/fd/" + std::to_string(first_[index].get()), O_RDWR));
  } else if (const std::string folder = usable_folder(file.path());
             file.first_flags() != 0 && !folder.empty()) {
    // It may still get a name (linkat(2)), which one that lost its name may not.
    if (auto first = open_file(folder, O_TMPFILE | static_cast<int>(file.first_flags()), 0600)) {
      first_[index] = std::move(*first);
      CRS_TRY(fresh, open_file("/proc/self/fd/" + std::to_string(first_[index].get()), O_RDWR));
    }
  }
  if (!fresh) {
    CRS_TRY(fresh, open_nameless(file));
  }
  if (ftruncate(fresh.get(), static_cast<off_t>(file.size())) != 0) {
    return Error::from_errno(errno, "give the deleted file " + file.path() + " its size");
  }
  CRS_CHECK(fill(snapshot, index, fresh.get()).context("deleted file " + file.path()));
  // One that may not be written was not mapped for writing either, and could not be sealed once it is.
  CRS_CHECK(add_seals(fresh.get(), file.seals() & F_SEAL_WRITE, file.path()));
  made = std::move(fresh);
  return made.get();
}

OwnedFd DeletedFiles::take_first(std::uint32_t index) {
  return index < first_.size() ? std::move(first_[index]) : OwnedFd();
}

Status DeletedFiles::fill(const store::SnapshotReader& snapshot, std::uint32_t index, int fd) const {
  const auto& file = state_.files(static_cast<int>(index));
  if (file.pages() == 0) return ok();
  if (!snapshot.has_pages()) return Error(Errc::bad_snapshot, "its content is missing");
  const store::PageFileReader& pages = snapshot.pages();
  std::uint64_t filled = 0;
  Bytes data;
  for (std::size_t i = 0; i < pages.chunk_count(); ++i) {
    const auto chunk = pages.chunk(i);
    if (chunk.runs.empty() || chunk.runs.front().space != first_file_space + index) continue;
    data.resize(chunk.pages * page_size);
    std::vector<std::span<std::byte>> into;
    std::size_t at = 0;
    for (const store::PageRun& run : chunk.runs) {
      const std::size_t bytes = run.pages * page_size;
      if (run.space != first_file_space + index || run.address >= file.size() ||
          bytes > page_up(file.size()) - run.address) {
        return Error(Errc::bad_snapshot, "its content does not fit its size");
      }
      into.push_back(std::span(data).subspan(at, bytes));
      at += bytes;
    }
    CRS_CHECK(pages.read_chunk(i, into));
    for (std::size_t run = 0; run < into.size(); ++run) {
      const std::uint64_t offset = chunk.runs[run].address;
      CRS_CHECK(pwrite_all(fd,
                           into[run].first(std::min<std::uint64_t>(into[run].size(), file.size() - offset)),
                           offset, file.path()));
    }
    filled += chunk.pages;
  }
  if (filled != file.pages()) return Error(Errc::bad_snapshot, "not all of its content is there");
  return ok();
}

Status DeletedFiles::finish() {
  for (std::size_t i = 0; i < made_.size(); ++i) {
    const OwnedFd made = std::move(made_[i]);
    if (!made) continue;
    const auto& file = state_.files(static_cast<int>(i));
    struct stat now {};
    if (fstat(made.get(), &now) != 0) return Error::from_errno(errno, "stat " + file.path());
    const bool other_owner = now.st_uid != file.uid() || now.st_gid != file.gid();
    if (other_owner && fchown(made.get(), file.uid(), file.gid()) != 0) {
      return Error::from_errno(errno, "give the deleted file " + file.path() + " back its owner");
    }
    if (fchmod(made.get(), file.mode()) != 0) return Error::from_errno(errno, "chmod " + file.path());
    for (const auto& attribute : file.attributes()) {
      const std::string& value = attribute.value();
      if (fsetxattr(made.get(), attribute.name().c_str(), value.data(), value.size(), 0) != 0) {
        if (attribute.name() == access_list && errno == EINVAL) {
          // It names users that an ordinary user's namespace does not have. The group's bits would be its
          // mask.
          if (fchmod(made.get(), file.mode() & ~mode_t{S_IRWXG}) == 0) continue;
        }
        return Error::from_errno(errno, "give the deleted file " + file.path() +
                                            " back its extended attribute " + attribute.name());
      }
    }
    const timespec times[2] = {time_of(file.atime_ns()), time_of(file.mtime_ns())};
    if (futimens(made.get(), times) != 0) return Error::from_errno(errno, "set the times of " + file.path());
    CRS_CHECK(add_seals(made.get(), file.seals(), file.path()));
  }
  made_.clear();
  first_.clear();
  return ok();
}

nlohmann::json DeletedFiles::describe() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& file : state_.files()) {
    list.push_back({{"path", file.path()}, {"size", file.size()}, {"saved_bytes", file.pages() * page_size}});
  }
  return list;
}

}  // namespace crs
