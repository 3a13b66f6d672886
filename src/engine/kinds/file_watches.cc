// SPDX-License-Identifier: Apache-2.0
// File watches (inotify): which files are watched, for what, under which numbers.
//
// What this file knows
//   fdinfo lists the watches by device, inode and file handle, but by no name. Root opens the handle
//   (open_by_handle_at(2), CAP_DAC_READ_SEARCH), and the kernel tells the name. Anybody else looks for the
//   inode among the names that the process is likely to have used: its open files and working directory, the
//   words of its command line, the folders above each, and what is below its working directory, up to a
//   limit. A watch whose file is found nowhere is a blocker. The watches are made again by the process
//   itself, in their old order and under their old numbers (INOTIFY_IOC_SETNEXTWD,
//   CONFIG_CHECKPOINT_RESTORE), and compared with the saved ones before the program runs. What a file is by
//   that name when the process comes back is watched, as a program that starts would do. Events that were
//   told but not read cannot be put back: a blocker. What happens to the files between checkpoint and restart
//   nobody tells the program; that a restart cuts a file which had grown, it hears.
//   A number given by the kernel is the next one; where the last watches were removed before the checkpoint,
//   theirs are given again.
// What it leaves to others
//   Who waits for it: a waiting thread makes its call again (interrupted_calls.h), an epoll watches it
//   (event_polls.cc).
//
// Kernel interfaces: inotify(7), proc(5) fdinfo, open_by_handle_at(2).   Round trip:
// tests/targets/file_watches_*.cc
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "engine/kinds/file_watches.pb.h"
#include "engine/other_processes.h"
#include "engine/resource_kind.h"
#include "os/file_io.h"

namespace crs {
namespace {

constexpr const char* link_text = "anon_inode:inotify";
constexpr unsigned long set_next_number = _IOW('I', 0, std::int32_t);  // INOTIFY_IOC_SETNEXTWD
constexpr std::uint32_t known_mask = IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK | IN_UNMOUNT;
constexpr std::size_t most_entries = 20'000;  // that are looked at below the working directory

std::string name_of(int number) {
  return "fd " + std::to_string(number) + " (inotify)";
}

// What is watched, as fdinfo tells it.
struct Line {
  std::int32_t wd = 0;
  std::uint64_t inode = 0;
  std::uint32_t device = 0;  // of the kernel's making
  std::uint32_t mask = 0;
  std::uint32_t handle_type = 0;
  std::string handle;  // hexadecimal digits
  auto place() const { return std::pair(device, inode); }
};

std::optional<std::vector<Line>> parse(const std::string& fdinfo) {
  std::vector<Line> lines;
  for (std::size_t at = fdinfo.find("inotify wd:"); at != std::string::npos;
       at = fdinfo.find("inotify wd:", at + 1)) {
    Line line;
    unsigned wd = 0, handle_bytes = 0;
    unsigned long long inode = 0;
    char handle[2 * MAX_HANDLE_SZ + 1] = "";
    const int read =
        std::sscanf(fdinfo.c_str() + at,  // NOLINT: fixed format
                    "inotify wd:%x ino:%llx sdev:%x mask:%x ignored_mask:%*x fhandle-bytes:%x "
                    "fhandle-type:%x f_handle:%256[0-9a-f]",
                    &wd, &inode, &line.device, &line.mask, &handle_bytes, &line.handle_type, handle);
    if (read < 4) return std::nullopt;
    line.wd = static_cast<std::int32_t>(wd);
    line.inode = inode;
    if (read == 7 && std::strlen(handle) == 2 * std::size_t{handle_bytes}) line.handle = handle;
    lines.push_back(std::move(line));
  }
  std::ranges::sort(lines, {}, &Line::wd);
  return lines;
}

// The kernel writes a device as 12 bits of major and 20 bits of minor.
std::pair<std::uint32_t, std::uint64_t> place_of(const struct stat& status) {
  return {static_cast<std::uint32_t>(major(status.st_dev) << 20 | minor(status.st_dev)), status.st_ino};
}

// Names of watched files, found with as little looking around as possible.
class Search {
 public:
  explicit Search(const FrozenProcess& target) : proc_(target.proc()) {}

  void look_for(const Line& line) { wanted_.insert(line.place()); }

  std::optional<std::string> find(const Line& line) {
    if (auto path = by_handle(line)) return path;
    if (!looked_) look_around();
    const auto found = found_.find(line.place());
    return found == found_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  static std::optional<std::string> by_handle(const Line& line) {
    if (line.handle.empty()) return std::nullopt;
    alignas(file_handle) std::byte room[sizeof(file_handle) + MAX_HANDLE_SZ];
    auto* const handle = reinterpret_cast<file_handle*>(room);
    handle->handle_bytes = static_cast<unsigned>(line.handle.size() / 2);
    handle->handle_type = static_cast<int>(line.handle_type);
    for (std::size_t i = 0; i < line.handle.size() / 2; ++i) {
      const auto byte = parse_number(std::string_view(line.handle).substr(2 * i, 2), 16);
      room[sizeof(file_handle) + i] = static_cast<std::byte>(byte.value_or(0));
    }
    // Any place of that file system will do.
    const auto mounts = read_file("/proc/self/mountinfo");
    for (std::size_t at = 0; mounts && at < mounts->size();) {
      const std::size_t end = std::min(mounts->find('\n', at), mounts->size());
      const std::string entry = mounts->substr(at, end - at);
      at = end + 1;
      unsigned major_number = 0, minor_number = 0;
      char root[4096] = "", place[4096] = "";
      if (std::sscanf(entry.c_str(), "%*d %*d %u:%u %4095s %4095s", &major_number, &minor_number,
                      root,  // NOLINT
                      place) != 4 ||
          (major_number << 20 | minor_number) != line.device || std::strchr(place, '\\') != nullptr)
        continue;
      const OwnedFd mount(open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      if (!mount) continue;
      const OwnedFd file(open_by_handle_at(mount.get(), handle, O_PATH | O_CLOEXEC | O_NOFOLLOW));
      if (!file) return std::nullopt;
      const auto path = read_link("/proc/self/fd/" + std::to_string(file.get()));
      if (path && leads_to(*path, line)) return *path;
    }
    return std::nullopt;
  }

  static bool leads_to(const std::string& path, const Line& line) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0 && place_of(status) == line.place();
  }

  void look_around() {
    looked_ = true;
    std::set<std::string> names;
    const auto with_folders = [&](std::filesystem::path path) {
      for (path = path.lexically_normal(); path.is_absolute() && names.insert(path).second && path != "/";
           path = path.parent_path()) {
      }
    };
    std::string directory = "/";
    if (const auto cwd = proc_.read_link("cwd")) directory = *cwd;
    with_folders(directory);
    if (const auto fds = proc_.fds()) {
      for (const RemoteFd fd : *fds) {
        if (const auto link = proc_.read_link("fd/" + std::to_string(fd.v)); link && link->starts_with('/'))
          with_folders(*link);
      }
    }
    if (const auto words = proc_.read("cmdline")) {
      for (std::size_t at = 0; at < words->size();) {
        const std::size_t end = std::min(words->find('\0', at), words->size());
        const std::string word = words->substr(at, end - at);
        at = end + 1;
        if (word.empty()) continue;
        with_folders(std::filesystem::path(directory) / word);
        if (const auto equals = word.find('='); equals != std::string::npos)
          with_folders(std::filesystem::path(directory) / word.substr(equals + 1));
      }
    }
    for (const std::string& name : names) {
      note(name);
      std::error_code problem;  // where the name is a symbolic link
      if (const auto real = std::filesystem::canonical(name, problem); !problem) note(real);
    }
    std::size_t entries = 0;
    std::error_code problem;
    auto entry = std::filesystem::recursive_directory_iterator(
        directory, std::filesystem::directory_options::skip_permission_denied, problem);
    for (; !problem && entry != std::filesystem::recursive_directory_iterator() && !wanted_.empty() &&
           ++entries < most_entries;
         entry.increment(problem))
      note(entry->path());
  }

  void note(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) return;
    const auto place = place_of(status);
    if (wanted_.erase(place) != 0) found_[place] = path;
  }

  const ProcDir& proc_;
  std::set<std::pair<std::uint32_t, std::uint64_t>> wanted_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::string> found_;
  bool looked_ = false;
};

class FileWatchesKind : public ResourceKind {
 public:
  bool claims(const OpenFile& file) const override {
    return file.path == link_text || file.path == "anon_inode:[inotify]";
  }

  Status collect_file(CollectContext& context, const OpenFile& file) override {
    auto& saved = *state_.add_files();
    saved.set_id(file.id);
    saved.set_number(file.fds.front().v);
    saved.set_flags(file.flags & O_NONBLOCK);
    const std::string object = name_of(saved.number());
    if ((file.flags & ~std::uint32_t{O_NONBLOCK}) != 0) {
      context.blockers.add(object, "it has file status flags that cannot be restored yet",
                           "let the program clear them");
    }
    int waiting = 0;
    if (file.local < 0 || ioctl(file.local, FIONREAD, &waiting) != 0) {
      context.blockers.add(object, "the kernel does not let us look at it (pidfd_getfd)", "run crs as root");
    } else if (waiting != 0) {
      context.blockers.add(object, "it holds events that the program has not read yet",
                           "try again in a moment, or let the program read them");
    }
    auto lines = parse(file.fdinfo);
    if (!lines) {
      context.blockers.add(object, "this kernel does not tell what is watched",
                           "use a kernel with CONFIG_PROC_FS");
      return ok();
    }
    lines_[saved.number()] = std::move(*lines);
    return ok();
  }

  // After all descriptors: who else has them, and what the watched files are called.
  Status collect(CollectContext& context) override {
    if (state_.files().empty()) return ok();
    CRS_CHECK(refuse_shared(context));
    Search search(context.target);
    for (const auto& [number, lines] : lines_)
      std::ranges::for_each(lines, [&](const Line& line) { search.look_for(line); });
    for (auto& file : *state_.mutable_files()) {
      for (const Line& line : lines_[file.number()]) {
        auto& watch = *file.add_watches();
        watch.set_wd(line.wd);
        watch.set_mask(line.mask);
        watch.set_inode(line.inode);
        const auto path = search.find(line);
        struct stat status {};
        if (!path || lstat(path->c_str(), &status) != 0) {
          context.blockers.add(
              name_of(file.number()),
              "it watches a file (inode " + std::to_string(line.inode) + ") whose name was not found",
              "run crs as root, who can ask the kernel, or let the program remove the watch");
          continue;
        }
        if ((line.mask & ~known_mask) != 0) {
          context.blockers.add(name_of(file.number()),
                               "it watches " + *path + " in a way that is not known here",
                               "let the program remove the watch");
        }
        watch.set_path(*path);
        watch.set_mode(status.st_mode);
      }
    }
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& file : state_.files()) {
      std::int32_t last = 0;
      bool sound = file.number() >= 0 && (file.flags() & ~std::uint32_t{O_NONBLOCK}) == 0;
      for (const auto& watch : file.watches()) {
        sound = sound && watch.wd() > last && (watch.mask() & ~known_mask) == 0 &&
                watch.path().starts_with('/') && watch.path().find('\0') == std::string::npos;
        last = watch.wd();
      }
      if (!sound) return Error(Errc::bad_snapshot, "an inotify is described wrongly");
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    for (const auto& file : state_.files()) {
      if (context.is_replaced(file.id())) continue;
      for (const auto& watch : file.watches()) {
        struct stat now {};
        if (lstat(watch.path().c_str(), &now) != 0) {
          context.blockers.add(name_of(file.number()), "it watches " + watch.path() + ", which is not there",
                               "put it back");
        } else if ((now.st_mode & S_IFMT) != (watch.mode() & S_IFMT)) {
          context.blockers.add(name_of(file.number()),
                               "it watches " + watch.path() + ", which is a file of another type now",
                               "put the old one back");
        } else if (now.st_ino != watch.inode()) {
          context.blockers.note(name_of(file.number()) + ": " + watch.path() +
                                " is another file than the one that it watched, and is watched now");
        }
      }
    }
    return ok();
  }

  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.files(), [id](const auto& each) { return each.id() == id; });
    if (found == state_.files().end()) return Error(Errc::bad_snapshot, "an inotify is missing");
    OwnedFd fd(inotify_init1(IN_CLOEXEC | static_cast<int>(found->flags())));
    if (!fd) return Error::from_errno(errno, "inotify_init1");
    return fd;
  }

  Status rebuild(RebuildContext& context) override {
    pid_ = context.pid();
    CallBatch& batch = context.leader();
    for (const auto& file : state_.files()) {
      if (context.options().fd_paths.contains(file.number())) continue;
      made_.insert(file.number());
      for (const auto& watch : file.watches()) {
        const std::int32_t wd = watch.wd();
        batch.call("INOTIFY_IOC_SETNEXTWD", SYS_ioctl, file.number(), set_next_number, wd);
        batch.call("watch " + watch.path(), SYS_inotify_add_watch, file.number(),
                   batch.in_string(watch.path()), watch.mask() | IN_DONT_FOLLOW);
      }
    }
    return ok();
  }

  // The process stands as it will run: the watches must be the saved ones.
  Status commit(CommitContext&) override {
    if (made_.empty()) return ok();
    CRS_TRY(const ProcDir proc, ProcDir::open(pid_));
    for (const auto& file : state_.files()) {
      if (!made_.contains(file.number())) continue;
      CRS_TRY(const std::string fdinfo, proc.read("fdinfo/" + std::to_string(file.number())));
      const auto lines = parse(fdinfo);
      const bool equal =
          lines && std::ranges::equal(*lines, file.watches(), [](const Line& now, const auto& saved) {
            return now.wd == saved.wd() && now.mask == saved.mask();
          });
      if (!equal)
        return Error(Errc::kernel, name_of(file.number()) + ": its watches did not come back as they were");
    }
    return ok();
  }

  nlohmann::json describe() const override {
    if (state_.files().empty()) return nullptr;
    nlohmann::json list = nlohmann::json::array();
    for (const auto& file : state_.files()) {
      nlohmann::json watches = nlohmann::json::array();
      for (const auto& watch : file.watches())
        watches.push_back({{"number", watch.wd()}, {"path", watch.path()}, {"mask", watch.mask()}});
      list.push_back({{"fd", file.number()}, {"watches", std::move(watches)}});
    }
    return list;
  }

 private:
  Status refuse_shared(CollectContext& context) const {
    const Tid process = context.target.living_thread();
    std::set<int> told;
    return see_other_descriptors(context.target, [&](const OtherDescriptor& other) {
      if (!other.link.starts_with("anon_inode:") || other.link.find("inotify") == std::string::npos) return;
      for (const auto& file : state_.files()) {
        const int number = file.number();
        const bool same = syscall(SYS_kcmp, process.v, other.pid.v, KCMP_FILE, number, other.fd.v) == 0;
        if (!same || !told.insert(number).second) continue;
        context.blockers.add(name_of(number), "it is shared with " + other.process(),
                             "end that process, or let the program close it");
      }
    });
  }

  state::FileWatches state_;
  std::map<int, std::vector<Line>> lines_;  // by descriptor
  Pid pid_{0};
  std::set<int> made_;
};

}  // namespace

extern constinit const KindInfo kind_file_watches{
    .section = "file_watches", .phase = Phase::descriptors, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<FileWatchesKind>();
    }};

}  // namespace crs
