// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "os/file_io.h"
#include "store/checksum.h"
#include "store/directory.h"
#include "store/page_file_layout.h"
#include "store/section_file.h"
#include "store/snapshot.h"

namespace crs::store {
namespace {

constexpr std::string_view state_name = "state.pb";
constexpr std::string_view pages_name = "pages-0.bin";

std::string partial_prefix(const std::string& final_path) {
  std::string prefix = ".";
  prefix += name_of(final_path);
  return prefix += ".partial.";
}

void remove_leftovers(const std::string& final_path) {
  const std::string parent = parent_of(final_path);
  const auto names = list_directory(parent);
  if (!names) return;
  for (const std::string& name : *names) {
    if (name.starts_with(partial_prefix(final_path))) (void)remove_if_abandoned(parent + "/" + name);
  }
}

}  // namespace

struct SnapshotWriter::State {
  std::string final_path;
  std::string hidden_path;
  OwnedFd directory;
  OwnedFd manifest;  // locked as long as we live
  std::vector<Section> sections;
  std::vector<std::string> other_files;
  std::optional<PageFileWriter> pages;
  PageFileSummary summary;
  bool used = false;  // commit was called
  bool committed = false;
  pid_t owner = getpid();  // a forked copy must not remove what its parent writes

  Result<bool> make_hidden(const std::string& path);
  Result<OwnedFd> create_file(std::string_view name) const;
  Status write_state() const;
  Status list_file(Manifest& manifest_data, const std::string& name) const;
  Status publish();
  ~State() {
    if (!committed && !hidden_path.empty() && owner == getpid()) (void)remove_directory(hidden_path);
  }
};

SnapshotWriter::SnapshotWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SnapshotWriter::SnapshotWriter(SnapshotWriter&&) noexcept = default;
SnapshotWriter& SnapshotWriter::operator=(SnapshotWriter&&) noexcept = default;
SnapshotWriter::~SnapshotWriter() = default;

Result<SnapshotWriter> SnapshotWriter::create(const std::string& final_path, const PageFileOptions& options) {
  CRS_TRY(std::string path, absolute(final_path));
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) {
    return Error(Errc::storage, path + " exists already")
        .with_hint("give another -o directory, or remove this one (crs rm, rm -r)");
  }
  CRS_CHECK(make_directories(parent_of(path)));
  remove_leftovers(path);
  auto state = std::make_unique<State>();
  state->final_path = std::move(path);
  const std::string base =
      parent_of(state->final_path) + "/" + partial_prefix(state->final_path) + std::to_string(getpid());
  for (int attempt = 0;; ++attempt) {
    CRS_TRY(const bool made, state->make_hidden(attempt == 0 ? base : base + "." + std::to_string(attempt)));
    if (made) break;
    if (attempt == 1000) return Error(Errc::busy, "many writers to " + state->final_path + " at once");
  }
  CRS_TRY(state->pages, PageFileWriter::create(state->directory.get(), std::string(pages_name), options));
  return SnapshotWriter(std::move(state));
}

// False when the name is taken, or when somebody took the directory for abandoned before it was locked.
Result<bool> SnapshotWriter::State::make_hidden(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0) {
    if (errno == EEXIST) return false;
    return explain(Error::from_errno(errno, "make the directory " + path, Errc::storage));
  }
  auto opened = open_directory(path);
  if (!opened && opened.error().code() == Errc::not_found) return false;
  if (!opened) return std::move(opened).error();
  directory = std::move(*opened);
  if (fchmod(directory.get(), 0700) != 0) return Error::from_errno(errno, "chmod " + path, Errc::storage);
  auto file = create_file(lock_name);
  if (!file && file.error().code() == Errc::not_found) return false;
  if (!file) {
    rmdir(path.c_str());
    return std::move(file).error();
  }
  manifest = std::move(*file);
  // Where there are no locks (ENOLCK, ENOSYS, EOPNOTSUPP) nobody removes leftovers either.
  if (flock(manifest.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  struct stat status {};
  if (fstat(manifest.get(), &status) != 0) return Error::from_errno(errno, "stat " + path, Errc::storage);
  if (status.st_nlink == 0) return false;
  hidden_path = path;
  return true;
}

Status SnapshotWriter::add_section(std::string_view name, std::string bytes) {
  if (!valid_section_name(name))
    return Error(Errc::bug, "'" + std::string(name) + "' is no name for a section");
  const bool twice =
      std::ranges::any_of(state_->sections, [&](const Section& each) { return each.first == name; });
  if (twice) return Error(Errc::bug, "section '" + std::string(name) + "' was added twice");
  state_->sections.emplace_back(std::string(name), std::move(bytes));
  return ok();
}

PageFileWriter& SnapshotWriter::pages() {
  return *state_->pages;
}

int SnapshotWriter::directory() const {
  return state_->directory.get();
}

Status SnapshotWriter::register_file(std::string_view name) {
  const bool reserved = name.starts_with(".") || name.starts_with("manifest") || name.starts_with("state") ||
                        name.starts_with("pages-");
  if (name.empty() || reserved || name.find('/') != std::string_view::npos ||
      std::ranges::find(state_->other_files, name) != state_->other_files.end()) {
    return Error(Errc::bug, "'" + std::string(name) + "' is no name for a component's file");
  }
  state_->other_files.emplace_back(name);
  return ok();
}

bool SnapshotWriter::is_own_file(std::string_view name) {
  return name == lock_name || name == state_name || name == pages_name;
}

Result<OwnedFd> SnapshotWriter::State::create_file(std::string_view name) const {
  auto fd = open_file_at(directory.get(), std::string(name), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!fd) return explain(std::move(fd).error());
  if (fchmod(fd->get(), 0600) != 0)
    return Error::from_errno(errno, "chmod " + std::string(name), Errc::storage);
  return fd;
}

Status SnapshotWriter::State::write_state() const {
  CRS_TRY(const OwnedFd fd, create_file(state_name));
  const std::string path = hidden_path + "/" + std::string(state_name);
  auto written =
      write_sections(sections, [&](std::string_view piece) { return write_all(fd.get(), piece, path); });
  if (!written) return explain(std::move(written).error());
  return ok();
}

// Makes a file durable and lists it. Of a page file the checksum is of index and footer: its chunks have
// their own.
Status SnapshotWriter::State::list_file(Manifest& manifest_data, const std::string& name) const {
  const std::string path = hidden_path + "/" + name;
  CRS_TRY(const OwnedFd fd, open_file_at(directory.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return Error::from_errno(errno, "stat " + path);
  if (!S_ISREG(status.st_mode)) return Error(Errc::bug, path + " is no regular file");
  if (fchmod(fd.get(), 0600) != 0) return Error::from_errno(errno, "chmod " + path, Errc::storage);
  CRS_CHECK(sync(fd.get(), path));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t from = name == pages_name ? size - sizeof(PageFileFooter) - summary.index_bytes : 0;
  CRS_TRY(const Hash128 checksum, checksum_of_file(fd.get(), from, size, path));
  manifest_data.files.push_back({name, size, checksum.to_hex()});
  return ok();
}

// The one moment at which the snapshot begins to exist.
Status SnapshotWriter::State::publish() {
  const std::string parent_path = parent_of(final_path);
  CRS_TRY(const OwnedFd parent, open_directory(parent_path));
  if (renameat2(AT_FDCWD, hidden_path.c_str(), AT_FDCWD, final_path.c_str(), RENAME_NOREPLACE) != 0) {
    int error_number = errno;
    const bool unknown = error_number == EINVAL || error_number == ENOSYS;  // a file system without the flag
    struct stat status {};
    if (unknown && lstat(final_path.c_str(), &status) == 0) error_number = EEXIST;
    if (!unknown || error_number == EEXIST || rename(hidden_path.c_str(), final_path.c_str()) != 0) {
      return explain(
          Error::from_errno(error_number, "give the snapshot its name " + final_path, Errc::storage));
    }
  }
  committed = true;
  auto synced = sync_directory(parent.get(), parent_path);
  if (!synced && rename(final_path.c_str(), hidden_path.c_str()) == 0) committed = false;
  return synced;
}

Result<std::string> SnapshotWriter::commit(Manifest manifest) {
  State& state = *state_;
  if (std::exchange(state.used, true)) return Error(Errc::bug, "a snapshot was committed twice");
  manifest.files.clear();
  CRS_CHECK(state.write_state());
  CRS_TRY(state.summary, state.pages->finish());
  CRS_CHECK(state.list_file(manifest, std::string(state_name)));
  CRS_CHECK(state.list_file(manifest, std::string(pages_name)));
  for (const std::string& name : state.other_files) CRS_CHECK(state.list_file(manifest, name));
  for (const ManifestFile& file : manifest.files) {
    if (file.name != pages_name) state.summary.stored_bytes += file.bytes;
  }
  const std::string text = manifest.to_json_text();
  const std::string path = state.hidden_path + "/" + lock_name;
  if (auto written = write_all(state.manifest.get(), text, path); !written) {
    return explain(std::move(written).error());
  }
  CRS_CHECK(sync(state.manifest.get(), path));
  state.summary.stored_bytes += text.size();
  CRS_CHECK(sync_directory(state.directory.get(), state.hidden_path));
  CRS_CHECK(state.publish());
  return state.final_path;
}

const PageFileSummary& SnapshotWriter::page_summary() const {
  return state_->summary;
}

}  // namespace crs::store
