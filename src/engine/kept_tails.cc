// SPDX-License-Identifier: Apache-2.0
#include "engine/kept_tails.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "os/file_io.h"

namespace crs {
namespace {

constexpr int most_folders = 100;
constexpr int most_tails = 1'000'000;
constexpr std::size_t piece_size = 1u << 20;
// Names in a directory have at most 255 bytes.
constexpr std::size_t longest_snapshot_name = 80;
constexpr std::size_t longest_file_name = 140;
constexpr const char* hint =
    "--files keep restarts without cutting anything off, and --files refuse tells what would be cut";

std::string last_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// Not to be opened: somebody else's, a symbolic link, no folder at all.
OwnedFd open_own_folder(int parent, const std::string& name) {
  OwnedFd folder(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!folder || fstat(folder.get(), &status) != 0) return {};
  const bool only_ours = status.st_uid == geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  return only_ours ? std::move(folder) : OwnedFd();
}

Error cannot_keep(int error_number, const std::string& what) {
  return Error::from_errno(error_number, what, Errc::storage).with_hint(hint);
}

Status copy(int from_fd, std::uint64_t from, std::uint64_t to, int fd, const std::string& path,
            const std::string& name) {
  Bytes piece(std::min<std::uint64_t>(piece_size, to - from));
  for (std::uint64_t at = from; at < to;) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), to - at));
    CRS_CHECK(pread_exact(from_fd, part, at, path));
    CRS_CHECK(write_all(fd, part, name));
    at += part.size();
  }
  if (fsync(fd) != 0) return Error::from_errno(errno, "make " + name + " durable", Errc::storage);
  return ok();
}

}  // namespace

KeptTails::~KeptTails() {
  for (const std::string& name : names_) unlinkat(folder_.get(), name.c_str(), 0);
}

Status KeptTails::open_folder() {
  if (folder_) return ok();
  const std::string parent_path = snapshot_.substr(0, snapshot_.rfind('/') + 1);
  CRS_TRY(const OwnedFd parent, open_file(parent_path, O_PATH | O_DIRECTORY));
  const std::string own_name = "tails-" + std::to_string(geteuid());
  for (int number = 0; number < most_folders; ++number) {
    std::string name = "tails";
    if (number > 0) name = own_name;
    if (number > 1) name += "." + std::to_string(number);
    const bool made = mkdirat(parent.get(), name.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) {
      const int error_number = errno;
      return cannot_keep(error_number, "make " + parent_path + name + " for what is cut off");
    }
    folder_ = open_own_folder(parent.get(), name);
    if (!folder_) continue;
    folder_path_ = parent_path + name;
    const OwnedFd readable(openat(parent.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (made && readable) (void)fsync(readable.get());
    return ok();
  }
  return Error(Errc::storage, "there is no place for what is cut off in " + parent_path).with_hint(hint);
}

Result<OwnedFd> KeptTails::make(const std::string& file_name, std::string& name) {
  const std::string stem = last_name(snapshot_).substr(0, longest_snapshot_name) + "-" +
                           file_name.substr(0, longest_file_name) + ".";
  for (int number = 1; number < most_tails; ++number) {
    name = stem + std::to_string(number);
    OwnedFd tail(
        openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (tail) return tail;
    if (errno == EEXIST) continue;
    const int error_number = errno;
    return cannot_keep(error_number, "make " + folder_path_ + "/" + name);
  }
  return Error(Errc::storage, "too many files in " + folder_path_);
}

Result<std::string> KeptTails::keep(int fd, const std::string& path, std::uint64_t from, std::uint64_t to) {
  CRS_CHECK(open_folder());
  std::string name;
  CRS_TRY(const OwnedFd tail, make(last_name(path), name));
  names_.push_back(name);
  const std::string full = folder_path_ + "/" + name;
  if (auto copied = copy(fd, from, to, tail.get(), path, full); !copied) {
    Error error = std::move(copied).error();
    if (error.hint().empty()) error.set_hint(hint);
    return error;
  }
  const std::string about = name + ".txt";
  const OwnedFd text(
      openat(folder_.get(), about.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (text) {
    names_.push_back(about);
    CRS_CHECK(write_all(text.get(), path + "\nfrom byte " + std::to_string(from) + " on\n", about));
  }
  if (fsync(folder_.get()) != 0) return cannot_keep(errno, "make " + folder_path_ + " durable");
  return full;
}

}  // namespace crs
