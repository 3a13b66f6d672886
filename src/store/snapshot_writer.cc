// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "os/file_io.h"
#include "store/checksum.h"
#include "store/directory.h"
#include "store/page_file_layout.h"
#include "store/section_file.h"
#include "store/snapshot.h"

namespace crs::store {
namespace {

constexpr std::string_view manifest_name = "manifest.json";
constexpr std::string_view state_name = "state.pb";
constexpr std::string_view pages_name = "pages-0.bin";

std::string partial_prefix(const std::string& final_path) {
  std::string prefix = ".";
  prefix += name_of(final_path);
  return prefix += ".partial.";
}

// Hidden directories of writers to the same place that nobody holds a lock on: their writers are dead.
void remove_leftovers(const std::string& final_path) {
  const std::string parent = parent_of(final_path);
  const auto names = list_directory(parent);
  if (!names) return;
  for (const std::string& name : *names) {
    if (!name.starts_with(partial_prefix(final_path))) continue;
    const std::string path = parent + "/" + name;
    const auto directory = open_directory(path);
    if (directory && flock(directory->get(), LOCK_EX | LOCK_NB) == 0) (void)remove_directory(path);
  }
}

// Of what is small enough, the whole; of a page file, its index and footer (its chunks have their own).
Result<Hash128> file_checksum(int directory, const std::string& name, std::uint64_t from, std::uint64_t size) {
  CRS_TRY(const OwnedFd fd, open_file_at(directory, name, O_RDONLY | O_NOFOLLOW));
  Bytes content(size - from);
  CRS_CHECK(pread_exact(fd.get(), content, from, name));
  return checksum_of(content);
}

}  // namespace

struct SnapshotWriter::State {
  std::string final_path;
  std::string hidden_path;
  OwnedFd directory;  // locked as long as we live
  std::vector<Section> sections;
  std::vector<std::string> other_files;
  std::optional<PageFileWriter> pages;
  PageFileSummary summary;
  bool committed = false;

  Status write_file(std::string_view name, std::string_view content) const;
  Status list_file(Manifest& manifest, const std::string& name) const;
  ~State() {
    if (!committed && !hidden_path.empty()) (void)remove_directory(hidden_path);
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
  const std::string hidden = parent_of(state->final_path) + "/" + partial_prefix(state->final_path) + std::to_string(getpid());
  if (mkdir(hidden.c_str(), 0700) != 0) {
    return Error::from_errno(errno, "make the directory " + hidden, Errc::storage)
        .with_hint("choose another place with --store or -o");
  }
  state->hidden_path = hidden;
  CRS_TRY(state->directory, open_directory(hidden));
  if (fchmod(state->directory.get(), 0700) != 0) return Error::from_errno(errno, "chmod " + hidden, Errc::storage);
  if (flock(state->directory.get(), LOCK_EX | LOCK_NB) != 0) return Error::from_errno(errno, "lock " + hidden, Errc::storage);
  CRS_TRY(state->pages, PageFileWriter::create(state->directory.get(), std::string(pages_name), options));
  return SnapshotWriter(std::move(state));
}

Status SnapshotWriter::add_section(std::string_view name, std::string bytes) {
  const bool twice = std::ranges::any_of(state_->sections, [&](const Section& each) { return each.first == name; });
  if (twice) return Error(Errc::bug, "section '" + std::string(name) + "' was added twice");
  state_->sections.emplace_back(std::string(name), std::move(bytes));
  return ok();
}

PageFileWriter& SnapshotWriter::pages() { return *state_->pages; }

int SnapshotWriter::directory() const { return state_->directory.get(); }

Status SnapshotWriter::register_file(std::string_view name) {
  state_->other_files.emplace_back(name);
  return ok();
}

Status SnapshotWriter::State::write_file(std::string_view name, std::string_view content) const {
  CRS_TRY(const OwnedFd fd, open_file_at(directory.get(), std::string(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (fchmod(fd.get(), 0600) != 0) return Error::from_errno(errno, "chmod " + std::string(name), Errc::storage);
  auto written = write_all(fd.get(), content, hidden_path + "/" + std::string(name));
  if (!written) {
    return std::move(written).error().with_hint("free space, or choose another place with --store or -o");
  }
  return sync(fd.get(), std::string(name));
}

Status SnapshotWriter::State::list_file(Manifest& manifest, const std::string& name) const {
  CRS_TRY(const OwnedFd fd, open_file_at(directory.get(), name, O_RDONLY | O_NOFOLLOW));
  CRS_CHECK(sync(fd.get(), name));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return Error::from_errno(errno, "stat " + name);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::uint64_t from = 0;
  if (name == pages_name) {
    from = size - sizeof(PageFileFooter) - summary.index_bytes;
  }
  CRS_TRY(const Hash128 checksum, file_checksum(directory.get(), name, from, size));
  manifest.files.push_back({name, size, checksum.to_hex()});
  return ok();
}

Result<std::string> SnapshotWriter::commit(Manifest manifest) {
  State& state = *state_;
  if (state.committed) return Error(Errc::bug, "a snapshot was committed twice");
  manifest.files.clear();
  CRS_CHECK(state.write_file(state_name, write_sections(state.sections)));
  CRS_CHECK(state.list_file(manifest, std::string(state_name)));
  CRS_TRY(state.summary, state.pages->finish());
  CRS_CHECK(state.list_file(manifest, std::string(pages_name)));
  for (const std::string& name : state.other_files) CRS_CHECK(state.list_file(manifest, name));
  for (const ManifestFile& file : manifest.files) {
    if (file.name != pages_name) state.summary.stored_bytes += file.bytes;
  }
  const std::string text = manifest.to_json_text();
  CRS_CHECK(state.write_file(manifest_name, text));
  state.summary.stored_bytes += text.size();
  CRS_CHECK(sync(state.directory.get(), state.hidden_path));
  if (renameat2(AT_FDCWD, state.hidden_path.c_str(), AT_FDCWD, state.final_path.c_str(), RENAME_NOREPLACE) != 0) {
    const int error_number = errno;
    const bool unknown = error_number == EINVAL || error_number == ENOSYS;  // a file system without the flag
    if (!unknown || access(state.final_path.c_str(), F_OK) == 0 ||
        rename(state.hidden_path.c_str(), state.final_path.c_str()) != 0) {
      return Error::from_errno(error_number, "give the snapshot its name " + state.final_path, Errc::storage);
    }
  }
  state.committed = true;
  CRS_TRY(const OwnedFd parent, open_directory(parent_of(state.final_path)));
  CRS_CHECK(sync(parent.get(), parent_of(state.final_path)));
  return state.final_path;
}

const PageFileSummary& SnapshotWriter::page_summary() const { return state_->summary; }

}  // namespace crs::store
