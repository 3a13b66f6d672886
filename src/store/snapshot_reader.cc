// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "os/file_io.h"
#include "store/checksum.h"
#include "store/directory.h"
#include "store/page_file_layout.h"
#include "store/section_file.h"
#include "store/snapshot.h"

namespace crs::store {
namespace {

constexpr std::size_t largest_manifest = 16u << 20;
constexpr std::uint64_t largest_state = 1ull << 30;
constexpr const char* use_another = "use another snapshot of the job (crs list)";
constexpr std::string_view pages_name = "pages-0.bin";
constexpr std::string_view state_name = "state.pb";

// Whoever may write to a snapshot could make us run anything.
Status check_owner(const struct stat& status, const std::string& path) {
  if (status.st_uid != geteuid() && status.st_uid != 0) {
    return Error(Errc::permission, path + " belongs to user " + std::to_string(status.st_uid))
        .with_hint(
            "a snapshot is only restarted for its owner: restart it as that user, or take it over with "
            "chown");
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Error(Errc::permission, path + " can be written to by others").with_hint("chmod go-w " + path);
  }
  return ok();
}

}  // namespace

struct SnapshotReader::State {
  std::string path;
  OwnedFd directory;
  Manifest manifest;
  std::vector<Section> sections;
  std::optional<PageFileReader> pages;

  Result<OwnedFd> open_checked(const std::string& name, std::uint64_t& size) const;
  Status check_file(const ManifestFile& file);
};

SnapshotReader::SnapshotReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
SnapshotReader::SnapshotReader(SnapshotReader&&) noexcept = default;
SnapshotReader& SnapshotReader::operator=(SnapshotReader&&) noexcept = default;
SnapshotReader::~SnapshotReader() = default;

Result<OwnedFd> SnapshotReader::State::open_checked(const std::string& name, std::uint64_t& size) const {
  const std::string whole = path + "/" + name;
  auto fd = open_file_at(directory.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) {
    Error error = std::move(fd).error();
    if (error.error_number() == ENOENT) {
      return Error(Errc::bad_snapshot, whole + " is missing").with_hint(use_another);
    }
    if (error.error_number() == ELOOP) return Error(Errc::bad_snapshot, whole + " is a symbolic link");
    if (error.error_number() == ENXIO) return Error(Errc::bad_snapshot, whole + " is no regular file");
    return error;
  }
  struct stat status {};
  if (fstat(fd->get(), &status) != 0) return Error::from_errno(errno, "stat " + whole);
  if (!S_ISREG(status.st_mode)) return Error(Errc::bad_snapshot, whole + " is no regular file");
  CRS_CHECK(check_owner(status, whole));
  size = static_cast<std::uint64_t>(status.st_size);
  return fd;
}

Status SnapshotReader::State::check_file(const ManifestFile& file) {
  const std::string whole = path + "/" + file.name;
  std::uint64_t size = 0;
  CRS_TRY(const OwnedFd fd, open_checked(file.name, size));
  if (size != file.bytes) {
    return Error(Errc::bad_snapshot, whole + " has " + std::to_string(size) + " bytes instead of " +
                                         std::to_string(file.bytes) +
                                         (size < file.bytes ? ": it was cut short" : ""))
        .with_hint(use_another);
  }
  const auto check = [&](const Hash128& checksum) -> Status {
    if (checksum.to_hex() == file.checksum) return ok();
    return Error(Errc::bad_snapshot, whole + " is damaged (checksum)").with_hint(use_another);
  };
  if (file.name == state_name) {
    if (size > largest_state) return Error(Errc::bad_snapshot, whole + " is too large");
    std::string content(size, '\0');
    CRS_CHECK(pread_exact(fd.get(), std::as_writable_bytes(std::span(content)), 0, whole));
    CRS_TRY(sections, parse_sections(content, whole));
    return check(checksum_of(as_bytes(content)));
  }
  std::uint64_t from = 0;
  if (file.name == pages_name) {
    CRS_TRY(pages, PageFileReader::open(directory.get(), file.name));
    from = pages->stored_bytes();  // where the index begins
  }
  CRS_TRY(const Hash128 checksum, checksum_of_file(fd.get(), from, size, whole));
  return check(checksum);
}

Result<SnapshotReader> SnapshotReader::open(const std::string& given) {
  auto state = std::make_unique<State>();
  CRS_TRY(state->path, absolute(given));
  auto directory = open_directory(state->path);
  if (!directory) {
    Error error = std::move(directory).error();
    if (error.error_number() == ENOTDIR && access(state->path.c_str(), F_OK) == 0) {
      return Error(Errc::bad_snapshot, state->path + " is no snapshot: it is no directory");
    }
    if (error.error_number() == ENOENT || error.error_number() == ENOTDIR) {
      return Error(Errc::not_found, "there is no snapshot at " + state->path)
          .with_hint("crs list shows what there is");
    }
    return error;
  }
  state->directory = std::move(*directory);
  struct stat status {};
  if (fstat(state->directory.get(), &status) != 0) return Error::from_errno(errno, "stat " + state->path);
  CRS_CHECK(check_owner(status, state->path));
  std::uint64_t size = 0;
  CRS_TRY(const OwnedFd fd, state->open_checked("manifest.json", size));
  if (size > largest_manifest) return Error(Errc::bad_snapshot, state->path + "/manifest.json is too large");
  CRS_TRY(const std::string text, read_fd(fd.get(), "manifest.json", largest_manifest));
  CRS_TRY(state->manifest, Manifest::parse(text, state->path + "/manifest.json"));
  for (const ManifestFile& file : state->manifest.files) {
    CRS_CHECK(state->check_file(file));
  }
  return SnapshotReader(std::move(state));
}

const std::string& SnapshotReader::path() const {
  return state_->path;
}
const Manifest& SnapshotReader::manifest() const {
  return state_->manifest;
}
int SnapshotReader::directory() const {
  return state_->directory.get();
}
bool SnapshotReader::has_pages() const {
  return state_->pages.has_value();
}
const PageFileReader& SnapshotReader::pages() const {
  return *state_->pages;
}

bool SnapshotReader::has_section(std::string_view name) const {
  return std::ranges::any_of(state_->sections, [&](const Section& each) { return each.first == name; });
}

Result<std::string_view> SnapshotReader::section(std::string_view name) const {
  const auto found = std::ranges::find(state_->sections, name, &Section::first);
  if (found == state_->sections.end()) {
    return Error(Errc::bad_snapshot, state_->path + ": section '" + std::string(name) + "' is missing");
  }
  return std::string_view(found->second);
}

std::vector<std::string> SnapshotReader::section_names() const {
  std::vector<std::string> names;
  for (const Section& each : state_->sections) names.push_back(each.first);
  return names;
}

Status SnapshotReader::verify(unsigned threads, const Deadline& deadline, PageFileReader::Depth depth) const {
  return has_pages() ? pages().verify(threads, deadline, depth) : ok();
}

}  // namespace crs::store
