// SPDX-License-Identifier: Apache-2.0
#include "engine/descriptor_table.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "engine/descriptor_table.pb.h"
#include "engine/obstacles.h"
#include "engine/own_stream.h"

namespace crs {
namespace {

constexpr int most_descriptors = 1 << 20;

// Raises the soft limit of open files to the hard one. Answers what it was, unless nothing changed.
std::optional<rlimit> raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return std::nullopt;
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &raised) != 0) return std::nullopt;
  return limit;
}

// The same as long as it lives: we hold a copy of each description for a moment.
class RaisedFileLimit {
 public:
  RaisedFileLimit() : before_(raise_file_limit()) {}
  RaisedFileLimit(const RaisedFileLimit&) = delete;
  RaisedFileLimit& operator=(const RaisedFileLimit&) = delete;
  ~RaisedFileLimit() {
    if (before_) setrlimit(RLIMIT_NOFILE, &*before_);
  }

 private:
  std::optional<rlimit> before_;
};

struct Seen {
  RemoteFd fd;
  std::string path;  // empty: too long to be told
  std::string fdinfo;
  struct stat status {};
  std::uint32_t flags = 0;  // with O_CLOEXEC
  std::int64_t position = 0;
  OwnedFd local;
};

// What may share a description with another: everything that fdinfo and fstat tell is the same.
auto likeness(const Seen& seen) {
  return std::tuple(seen.status.st_dev, seen.status.st_ino, seen.position,
                    seen.flags & ~std::uint32_t{O_CLOEXEC}, seen.path);
}

// A total order of descriptions, which kcmp(2) gives, so that many candidates cost n log n calls.
int compare_files(Tid process, RemoteFd a, RemoteFd b) {
  const long order = syscall(SYS_kcmp, process.v, process.v, KCMP_FILE, a.v, b.v);
  return order == 0 ? 0 : order == 1 ? -1 : 1;
}

Result<Seen> look_at(const FrozenProcess& target, RemoteFd fd) {
  Seen seen;
  seen.fd = fd;
  const std::string number = std::to_string(fd.v);
  auto path = target.proc().read_link("fd/" + number);
  if (!path && path.error().error_number() != ENAMETOOLONG) return std::move(path).error();
  if (path) seen.path = std::move(*path);
  CRS_TRY(seen.fdinfo, target.proc().read("fdinfo/" + number));
  const ProcFields fields = ProcFields::parse(seen.fdinfo);
  const auto flags = fields.number("flags", 8);
  if (!flags) return Error(Errc::bug, "fdinfo without flags");
  seen.flags = static_cast<std::uint32_t>(*flags);
  seen.position = fields.signed_number("pos").value_or(0);
  seen.local = OwnedFd(static_cast<int>(syscall(SYS_pidfd_getfd, target.pidfd(), fd.v, 0)));
  if (seen.local) {
    if (fstat(seen.local.get(), &seen.status) != 0) return Error::from_errno(errno, "fstat");
  } else if (fstatat(target.proc().fd(), ("fd/" + number).c_str(), &seen.status, 0) != 0) {
    return Error::from_errno(errno, "stat");
  }
  return seen;
}

std::string plain_words(const std::string& path) {
  constexpr std::pair<std::string_view, std::string_view> table[] = {
      {"socket:", "a socket"},
      {"pipe:", "a pipe"},
      {"anon_inode:[eventfd]", "an event counter (eventfd)"},
      {"anon_inode:[eventpoll]", "a set of watched descriptors (epoll)"},
      {"anon_inode:[timerfd]", "a timer (timerfd)"},
      {"anon_inode:[signalfd]", "a signal descriptor (signalfd)"},
      {"anon_inode:[io_uring]", "a ring for asynchronous I/O (io_uring)"},
      {"anon_inode:[userfaultfd]", "a page fault descriptor (userfaultfd)"},
      {"anon_inode:inotify", "a watch on files (inotify)"},
      {"anon_inode:[fanotify]", "a watch on files (fanotify)"},
      {"anon_inode:[pidfd]", "a handle of a process (pidfd)"},
      {"pidfd:", "a handle of a process (pidfd)"},
      {"anon_inode:[perf_event]", "a performance counter"},
      {"/memfd:", "a memory file (memfd) of huge pages"},
      {"/secretmem", "secret memory (memfd_secret)"},
      {"net:[", "a handle of a namespace"},
      {"mnt:[", "a handle of a namespace"},
      {"pid:[", "a handle of a namespace"},
      {"user:[", "a handle of a namespace"},
      {"ipc:[", "a handle of a namespace"},
      {"uts:[", "a handle of a namespace"},
      {"cgroup:[", "a handle of a namespace"},
      {"time:[", "a handle of a namespace"},
      {"anon_inode:bpf", "a program or a table in the kernel (bpf)"},
      {"/proc/", "an entry of /proc"},
      {"/sys/", "an entry of /sys"}};
  for (const auto& [prefix, words] : table) {
    if (path.starts_with(prefix)) return std::string(words);
  }
  return "a file of this kind";
}

// fcntl(2) F_SETOWN, F_SETSIG, O_ASYNC: whom the kernel signals when there is something to read.
void refuse_signals(CollectContext& context, const OpenFile& file, const std::string& name) {
  if (file.local < 0 || S_ISSOCK(file.status.st_mode)) return;
  f_owner_ex owner{};
  const bool owned = fcntl(file.local, F_GETOWN_EX, &owner) == 0 && owner.pid != 0;
  const bool has_signal = fcntl(file.local, F_GETSIG) > 0;
  if (!owned && !has_signal && (file.flags & O_ASYNC) == 0) return;
  context.blockers.add(name, "it sends a signal when it is ready (F_SETOWN, F_SETSIG, O_ASYNC)",
                       "this cannot be restored yet; let the program close it before the checkpoint");
}

Result<OwnedFd> copy_of(int fd) {
  OwnedFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) return Error::from_errno(errno, "dup");
  return copy;
}

// A terminal is often open for reading and writing where the program only reads or only writes.
Result<OwnedFd> open_given(const std::string& path, int flags, int number) {
  const int access = flags & O_ACCMODE;
  const int create = access == O_WRONLY || (access == O_RDWR && number != 0) ? O_CREAT : 0;
  auto fd = open_file(path, flags | create | O_NOCTTY, 0644);
  if (fd || access != O_RDWR) return fd;
  const int error = fd.error().error_number();
  if (error != EACCES && error != EROFS) return fd;
  return open_file(path, (flags & ~O_ACCMODE) | (number == 0 ? O_RDONLY : O_WRONLY) | O_NOCTTY);
}

std::string fd_list(const std::vector<RemoteFd>& fds) {
  std::string text;
  for (std::size_t i = 0; i < fds.size() && i < 4; ++i)
    text += (i == 0 ? "fd " : ", ") + std::to_string(fds[i].v);
  if (fds.size() > 4) text += " and " + std::to_string(fds.size() - 4) + " more";
  return text;
}

}  // namespace

struct DescriptorTable::State {
  state::DescriptorTable table;
  std::map<std::pair<std::uint32_t, int>, OwnedFd> made;  // by description and number; -1: all others of it

  const state::Description* find(std::uint32_t id) const {
    const auto& all = table.descriptions();
    const auto found =
        std::ranges::lower_bound(all, id, {}, [](const state::Description& each) { return each.id(); });
    return found != all.end() && found->id() == id ? &*found : nullptr;
  }
  // What stands at the numbers of a description: the saved one, or what the user gave for single numbers.
  enum class Source : std::uint8_t { saved, path, null, own };
  static Source source_of(int number, const RestoreOptions& options) {
    if (options.fd_paths.contains(number)) return Source::path;
    if (number < 3 && options.stdio == StdioMode::null) return Source::null;
    if (number < 3 && options.stdio == StdioMode::inherit) return Source::own;
    return Source::saved;
  }
  Status take(std::uint32_t id, const std::string& name, int number, Result<OwnedFd> fd);
  OwnedFd aside(int fd);
  std::set<int> numbers;  // the saved ones
  int above = 0;          // of all saved ones and all that were open
  int next_aside = 0;
};

// A copy at a number that no saved descriptor has: above all of them, or, where the limit of open files
// leaves no room there, between them.
OwnedFd DescriptorTable::State::aside(int fd) {
  for (;;) {
    OwnedFd moved(fcntl(fd, F_DUPFD_CLOEXEC, next_aside));
    if (moved) {
      next_aside = moved.get() + 1;
      if (!numbers.contains(moved.get())) return moved;
    } else if ((errno == EINVAL || errno == EMFILE) && next_aside >= above) {
      above = std::numeric_limits<int>::max();
      next_aside = 3;
    } else {
      return moved;
    }
  }
}

// `fd` stands for the description (number -1) or for one number, out of the way of what matters.
Status DescriptorTable::State::take(std::uint32_t id, const std::string& name, int number,
                                    Result<OwnedFd> fd) {
  if (!fd) return std::move(fd).error().with_context(name);
  OwnedFd moved = aside(fd->get());
  if (!moved) {
    return Error::from_errno(errno, "open " + name)
        .with_hint("the limit of open files (ulimit -n) is too low for this program");
  }
  made[{id, number}] = std::move(moved);
  return ok();
}

DescriptorTable::DescriptorTable() : state_(std::make_unique<State>()) {}
DescriptorTable::DescriptorTable(DescriptorTable&&) noexcept = default;
DescriptorTable& DescriptorTable::operator=(DescriptorTable&&) noexcept = default;
DescriptorTable::~DescriptorTable() = default;

Status DescriptorTable::collect(CollectContext& context, std::span<const ActiveKind> kinds) {
  const RaisedFileLimit raised;
  auto& table = state_->table;
  table.Clear();
  const Tid living = context.target.living_thread();
  CRS_TRY(const auto fds, context.target.proc().fds());
  std::vector<Seen> all;
  for (const RemoteFd fd : fds) {
    if (context.descriptors != nullptr && !context.descriptors->contains(fd.v)) continue;
    CRS_TRY(Seen seen, look_at(context.target, fd).context([&] { return to_string(fd); }));
    all.push_back(std::move(seen));
  }
  std::vector<std::size_t> order(all.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    const auto left = likeness(all[a]), right = likeness(all[b]);
    if (left != right) return left < right;
    const int files = compare_files(living, all[a].fd, all[b].fd);
    return files != 0 ? files < 0 : all[a].fd < all[b].fd;
  });
  // Groups of descriptors with one description, then numbered in the order of their lowest descriptor.
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool same = i > 0 && likeness(all[order[i - 1]]) == likeness(all[order[i]]) &&
                      compare_files(living, all[order[i - 1]].fd, all[order[i]].fd) == 0;
    if (!same) groups.emplace_back();
    groups.back().push_back(order[i]);
  }
  std::ranges::sort(groups, {}, [&](const auto& group) { return all[group.front()].fd; });

  std::map<int, state::Descriptor> descriptors;
  for (std::size_t index = 0; index < groups.size(); ++index) {
    const Seen& first = all[groups[index].front()];
    OpenFile file;
    file.id = static_cast<std::uint32_t>(index + 1);
    file.path = first.path;
    file.status = first.status;
    constexpr std::uint32_t kernel_o_largefile =
        0100000;  // on in every 64-bit program; the C library calls it 0
    file.flags = first.flags & ~(std::uint32_t{O_CLOEXEC} | kernel_o_largefile);
    file.position = first.position;
    file.fdinfo = first.fdinfo;
    file.local = first.local.get();
    for (const std::size_t member : groups[index]) {
      file.fds.push_back(all[member].fd);
      state::Descriptor descriptor;
      descriptor.set_number(all[member].fd.v);
      descriptor.set_description(file.id);
      descriptor.set_close_on_exec((all[member].flags & O_CLOEXEC) != 0);
      descriptors[all[member].fd.v] = descriptor;
    }
    auto& description = *table.add_descriptions();
    description.set_id(file.id);
    description.set_path(file.path);
    description.set_flags(file.flags);
    if (file.path.empty()) {
      const Obstacle obstacle = too_long_a_name();
      context.blockers.add(fd_list(file.fds), obstacle.reason, obstacle.remedy);
      continue;
    }
    const ActiveKind* owner = nullptr;
    for (const ActiveKind& each : kinds) {
      if (!each.kind->claims(file)) continue;
      if (owner != nullptr) {
        return Error(Errc::bug, fd_list(file.fds) + ": claimed by " + owner->info->section + " and " +
                                    each.info->section);
      }
      owner = &each;
    }
    if (owner == nullptr) {
      context.blockers.add(fd_list(file.fds) + " (" + file.path + ")",
                           plain_words(file.path) + " cannot be saved yet",
                           "let the program close it before the checkpoint");
      continue;
    }
    description.set_kind(owner->info->section);
    context.blockers.set_kind(owner->info->section);
    refuse_signals(context, file, fd_list(file.fds) + " (" + file.path + ")");
    CRS_CHECK(owner->kind->collect_file(context, file).context([&] {
      return fd_list(file.fds) + " (" + file.path + ")";
    }));
    context.blockers.set_kind(section);
  }
  for (auto& [number, descriptor] : descriptors) *table.add_descriptors() = descriptor;
  return ok();
}

Result<std::string> DescriptorTable::save() const {
  return to_section(state_->table);
}

Status DescriptorTable::load(std::string_view bytes) {
  auto& table = state_->table;
  CRS_CHECK(from_section(bytes, table));
  std::uint32_t previous_id = 0;
  for (const auto& description : table.descriptions()) {
    if (description.id() <= previous_id) return Error(Errc::bad_snapshot, "open files are out of order");
    previous_id = description.id();
  }
  int previous = -1;
  for (const auto& descriptor : table.descriptors()) {
    if (descriptor.number() <= previous || descriptor.number() >= most_descriptors) {
      return Error(Errc::bad_snapshot,
                   "descriptor " + std::to_string(descriptor.number()) + " is impossible or out of order");
    }
    if (state_->find(descriptor.description()) == nullptr) {
      return Error(Errc::bad_snapshot,
                   "descriptor " + std::to_string(descriptor.number()) + " refers to nothing");
    }
    previous = descriptor.number();
  }
  return ok();
}

Status DescriptorTable::check(CheckContext& context, std::span<const ActiveKind> kinds) {
  for (const auto& description : state_->table.descriptions()) {
    const bool known = std::ranges::any_of(
        kinds, [&](const ActiveKind& each) { return description.kind() == each.info->section; });
    if (!known) {
      return Error(Errc::bad_snapshot, description.path() + " was saved by kind '" + description.kind() +
                                           "', which this crs lacks")
          .with_hint("use the crs that made the snapshot, or a newer one");
    }
  }
  for (const auto& [number, path] : context.options.fd_paths) {
    const bool there = std::ranges::any_of(state_->table.descriptors(),
                                           [n = number](const auto& each) { return each.number() == n; });
    if (!there) {
      context.blockers.add("--fd " + std::to_string(number) + "=" + path,
                           "the program has no such descriptor", "crs inspect lists those it has");
    }
  }
  return ok();
}

bool DescriptorTable::is_replaced(std::uint32_t description, const RestoreOptions& options) const {
  return std::ranges::none_of(state_->table.descriptors(), [&](const auto& descriptor) {
    return descriptor.description() == description &&
           State::source_of(descriptor.number(), options) == State::Source::saved;
  });
}

std::set<int> DescriptorTable::numbers() const {
  std::set<int> all;
  for (const auto& descriptor : state_->table.descriptors()) all.insert(descriptor.number());
  return all;
}

std::optional<RemoteFd> DescriptorTable::first_of(std::uint32_t description) const {
  for (const auto& descriptor : state_->table.descriptors()) {
    if (descriptor.description() == description) return RemoteFd(descriptor.number());
  }
  return std::nullopt;
}

int DescriptorTable::first_free() const {
  const auto& all = state_->table.descriptors();
  return all.empty() ? 3 : std::max(3, all.rbegin()->number() + 1);
}

Result<std::pair<int, int>> DescriptorTable::two_numbers_aside() const {
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const auto open_now, self.fds());
  std::set<int> taken;
  for (const RemoteFd fd : open_now) taken.insert(fd.v);
  for (const auto& descriptor : state_->table.descriptors()) taken.insert(descriptor.number());
  const int above = taken.empty() ? 3 : std::max(3, *taken.rbegin() + 1);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || above + std::uint64_t{1} < limit.rlim_max)
    return std::pair(above, above + 1);
  // The lowest is left to those who need one for a moment (kinds/event_polls.cc).
  std::vector<int> gaps;
  for (int number = above - 1; number >= 3 && gaps.size() < 3; --number) {
    if (!taken.contains(number)) gaps.push_back(number);
  }
  if (gaps.size() == 3) return std::pair(gaps[1], gaps[0]);
  return Error(Errc::refused, "the program's descriptors leave no number free below the limit of open files")
      .with_hint("raise the hard limit (ulimit -Hn) for the restart");
}

Status DescriptorTable::create(InsideContext& context, std::span<const ActiveKind> kinds) {
  raise_file_limit();
  CRS_TRY(const ProcDir self, ProcDir::open(Pid(getpid())));
  CRS_TRY(const auto open_now, self.fds());
  for (const auto& descriptor : state_->table.descriptors()) state_->numbers.insert(descriptor.number());
  state_->above = std::max(first_free(), open_now.empty() ? 0 : open_now.back().v + 1);
  state_->next_aside = state_->above;
  for (const auto& description : state_->table.descriptions()) {
    if (is_replaced(description.id(), context.options)) continue;
    const auto kind = std::ranges::find_if(
        kinds, [&](const ActiveKind& each) { return description.kind() == each.info->section; });
    if (kind == kinds.end()) return Error(Errc::bug, "no kind for an open file");
    CRS_CHECK(state_->take(description.id(), description.path(), -1,
                           kind->kind->restore_file(context, description.id())));
  }
  return create_given(context);
}

// What the user gave. Numbers of one description that are given the same file share a description again.
Status DescriptorTable::create_given(const InsideContext& context) {
  std::map<std::pair<std::uint32_t, std::string>, int> opened;
  for (const auto& descriptor : state_->table.descriptors()) {
    const auto source = State::source_of(descriptor.number(), context.options);
    if (source == State::Source::saved) continue;
    const std::uint32_t id = descriptor.description();
    const int access = static_cast<int>(state_->find(id)->flags()) & (O_ACCMODE | O_APPEND | O_NONBLOCK);
    const std::string name = "--fd " + std::to_string(descriptor.number());
    if (source == State::Source::own) {
      CRS_CHECK(state_->take(id, "the restart's own stream", descriptor.number(),
                             own_stream(context, descriptor.number())));
      continue;
    }
    const std::string path =
        source == State::Source::null ? "/dev/null" : context.options.fd_paths.at(descriptor.number());
    const auto [earlier, fresh] = opened.emplace(std::pair(id, path), descriptor.number());
    auto fd = fresh ? open_given(path, access, descriptor.number())
                    : copy_of(state_->made[{id, earlier->second}].get());
    CRS_CHECK(state_->take(id, name, descriptor.number(), std::move(fd)));
  }
  return ok();
}

Status DescriptorTable::install(std::span<const int> keep) {
  std::set<int> kept(keep.begin(), keep.end());
  for (const auto& [id, fd] : state_->made) kept.insert(fd.get());
  // Gaps between what is kept are closed, whatever was there.
  unsigned from = 0;
  for (const int fd : kept) {
    if (static_cast<unsigned>(fd) > from) syscall(SYS_close_range, from, static_cast<unsigned>(fd) - 1, 0u);
    from = static_cast<unsigned>(fd) + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0u);
  for (const auto& descriptor : state_->table.descriptors()) {
    const int flags = descriptor.close_on_exec() ? O_CLOEXEC : 0;
    const auto given = state_->made.find({descriptor.description(), descriptor.number()});
    const int source = given != state_->made.end() ? given->second.get()
                                                   : state_->made[{descriptor.description(), -1}].get();
    if (dup3(source, descriptor.number(), flags) < 0) {
      return Error::from_errno(errno,
                               "give descriptor " + std::to_string(descriptor.number()) + " its number");
    }
  }
  state_->made.clear();
  return ok();
}

nlohmann::json DescriptorTable::describe(std::span<const ActiveKind>) const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& descriptor : state_->table.descriptors()) {
    const auto* description = state_->find(descriptor.description());
    list.push_back({{"fd", descriptor.number()},
                    {"path", description->path()},
                    {"kind", description->kind()},
                    {"description", descriptor.description()},
                    {"close_on_exec", descriptor.close_on_exec()}});
  }
  return list;
}

std::uint64_t DescriptorTable::count() const {
  return static_cast<std::uint64_t>(state_->table.descriptors_size());
}

}  // namespace crs
