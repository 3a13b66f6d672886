// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "os/file_io.h"
#include "os/nearest_name.h"
#include "store/directory.h"

namespace crs::store {
namespace {

constexpr std::size_t longest_job = 200;
constexpr std::uint64_t highest_generation = 1ull << 60;

std::string generation_name(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "%06llu", static_cast<unsigned long long>(number));
  return text;
}

// Only what generation_name() prints: "7" or "0000007" is somebody's own directory.
std::optional<std::uint64_t> generation_number(std::string_view name) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number == 0 ||
      number > highest_generation || generation_name(number) != name) {
    return std::nullopt;
  }
  return number;
}

std::uint64_t bytes_in(const std::string& directory) {
  std::uint64_t sum = 0;
  const auto names = list_directory(directory);
  if (!names) return 0;
  for (const std::string& name : *names) {
    struct stat status {};
    if (lstat((directory + "/" + name).c_str(), &status) == 0)
      sum += static_cast<std::uint64_t>(status.st_size);
  }
  return sum;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// The names nearest to the one that is not there, at most eight.
std::string nearest(std::string_view wanted, std::vector<std::string> names) {
  std::ranges::stable_sort(names, {}, [&](const std::string& name) { return edit_distance(wanted, name); });
  const std::size_t more = names.size() > 8 ? names.size() - 8 : 0;
  names.resize(names.size() - more);
  return joined(names) + (more != 0 ? " and " + std::to_string(more) + " more (crs list)" : "");
}

// A place where others may write is no place for a program's memory: they could put theirs there instead.
Status check_private(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return Error::from_errno(errno, "look at " + path, Errc::storage);
  if (!S_ISDIR(status.st_mode)) return Error(Errc::storage, path + " is no directory");
  if (status.st_uid != geteuid() && status.st_uid != 0) {
    return Error(Errc::permission, path + " belongs to user " + std::to_string(status.st_uid))
        .with_hint("choose another place with --store or -o");
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (status.st_mode & S_ISVTX) == 0) {
    return Error(Errc::permission, path + " can be written to by others").with_hint("chmod go-w " + path);
  }
  return ok();
}

// Serialises the choice of numbers. The directory itself is the lock: a refused checkpoint leaves no file
// behind.
Result<OwnedFd> lock_job(const std::string& directory) {
  CRS_TRY(OwnedFd lock, open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK)
      break;  // mkdir(2) and rename(2) still decide
    return Error::from_errno(errno, "lock " + directory, Errc::storage);
  }
  return lock;
}

// Another command may remove an empty job between our making and locking it (forget_if_empty): then again.
Result<OwnedFd> make_and_lock_job(const std::string& directory) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    CRS_CHECK(make_directories(directory));
    auto lock = lock_job(directory);
    if (!lock && lock.error().error_number() != ENOENT) return lock;
    struct stat locked {};
    struct stat named {};
    if (!lock || fstat(lock->get(), &locked) != 0 || stat(directory.c_str(), &named) != 0) continue;
    if (locked.st_dev != named.st_dev || locked.st_ino != named.st_ino) continue;
    CRS_CHECK(check_private(directory));
    return lock;
  }
  return Error(Errc::busy, directory + " is removed and made again all the time");
}

// By the name of a snapshot or of the hidden directory in which a writer that lives makes one. Those of dead
// ones go, as does what remove() was killed over.
Result<std::uint64_t> highest_number_taken(const std::string& directory) {
  CRS_TRY(const auto names, list_directory(directory));
  std::uint64_t highest = 0;
  for (const std::string& name : names) {
    std::string_view number_text = name;
    if (name[0] == '.') {
      number_text = number_text.substr(1, name.find('.', 1) - 1);
      if (!generation_number(number_text)) continue;
      const std::string path = directory + "/" + name;
      const bool partial = name.find(".partial.") != std::string::npos;
      if (!partial) {
        if (name.find(".removed.") != std::string::npos) (void)remove_directory(path);
        continue;
      }
      // It may also be gone because it was committed since the directory was read.
      const bool gone = remove_if_abandoned(path);
      if (gone && access((directory + "/" + std::string(number_text)).c_str(), F_OK) != 0) continue;
    }
    highest = std::max(highest, generation_number(number_text).value_or(0));
  }
  return highest;
}

}  // namespace

std::string Store::default_path() {
  if (const char* path = std::getenv("CRS_STORE"); path != nullptr && *path != '\0') return path;
  if (const char* path = std::getenv("XDG_STATE_HOME"); path != nullptr && *path == '/')
    return std::string(path) + "/crs";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    const passwd* entry = getpwuid(geteuid());
    home = entry != nullptr ? entry->pw_dir : "/";
  }
  return std::string(home) + "/.local/state/crs";
}

bool Store::valid_job_name(std::string_view name) {
  if (name.empty() || name.size() > longest_job || name[0] == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '+';
  });
}

Result<Store> Store::open(const std::string& path, bool create) {
  CRS_TRY(std::string whole, absolute(path));
  if (create) {
    CRS_CHECK(make_directories(whole));
  } else if (access(whole.c_str(), F_OK) != 0) {
    return Error(Errc::not_found, "there is no store at " + whole)
        .with_hint("crs checkpoint makes one; --store or CRS_STORE name another");
  }
  CRS_CHECK(check_private(whole));
  return Store(std::move(whole));
}

Result<std::vector<std::string>> Store::jobs() const {
  CRS_TRY(const auto names, list_directory(path_));
  std::vector<std::string> jobs;
  for (const std::string& name : names) {
    if (!valid_job_name(name)) continue;
    const auto inside = list_directory(path_ + "/" + name);  // not a directory, or not ours: no job
    if (inside && std::ranges::any_of(
                      *inside, [](const std::string& each) { return generation_number(each).has_value(); })) {
      jobs.push_back(name);
    }
  }
  return jobs;
}

Result<std::vector<Generation>> Store::generations(std::string_view job) const {
  if (!valid_job_name(job)) return Error(Errc::usage, "'" + std::string(job) + "' is no name for a job");
  const std::string directory = path_ + "/" + std::string(job);
  auto names = list_directory(directory);
  if (!names) {
    if (names.error().error_number() != ENOENT) return std::move(names).error();
    CRS_TRY(const auto known, jobs());
    return Error(Errc::not_found, "there is no job '" + std::string(job) + "' in " + path_)
        .with_hint(known.empty() ? "the store is empty" : "there are: " + nearest(job, known));
  }
  std::vector<Generation> generations;
  for (const std::string& name : *names) {
    const auto number = generation_number(name);
    if (!number) continue;
    generations.push_back(
        {std::string(job), *number, directory + "/" + name, bytes_in(directory + "/" + name)});
  }
  std::ranges::sort(generations, {}, &Generation::number);
  return generations;
}

Result<SnapshotWriter> Store::begin(std::string_view job, const PageFileOptions& options) const {
  if (!valid_job_name(job)) {
    return Error(Errc::usage, "'" + std::string(job) + "' is no name for a job")
        .with_hint("letters, digits, '.', '_', '-' and '+', not starting with '.'");
  }
  const std::string directory = path_ + "/" + std::string(job);
  CRS_TRY(const OwnedFd lock, make_and_lock_job(directory));
  std::uint64_t highest = 0;
  // Commits go on meanwhile, without the lock. A name that changes while a directory is read may be missed
  // under both its names (readdir(3)), but not twice: it changes only once.
  for (int look = 0; look < 2; ++look) {
    CRS_TRY(const std::uint64_t taken, highest_number_taken(directory));
    highest = std::max(highest, taken);
  }
  return SnapshotWriter::create(directory + "/" + generation_name(highest + 1), options);
}

void Store::forget_if_empty(std::string_view job) const {
  if (!valid_job_name(job)) return;
  const std::string directory = path_ + "/" + std::string(job);
  // The lock, so that nobody who is choosing a number in it loses it under their feet.
  const auto lock = lock_job(directory);
  if (lock) (void)rmdir(directory.c_str());  // ENOTEMPTY: it is in use
}

Result<std::string> Store::resolve(std::string_view name) const {
  const std::string given(name);
  if (given.empty()) return Error(Errc::usage, "an empty name for a snapshot");
  if (given.find('/') != std::string::npos || access((given + "/manifest.json").c_str(), F_OK) == 0) {
    CRS_TRY(std::string path, absolute(given));
    if (access(path.c_str(), F_OK) != 0) {
      return Error(Errc::not_found, "there is no snapshot at " + path)
          .with_hint("crs list shows what there is");
    }
    return path;
  }
  const std::size_t at = given.rfind('@');
  const std::string job = given.substr(0, at);
  CRS_TRY(const auto all, generations(job));
  if (all.empty()) return Error(Errc::not_found, "job '" + job + "' has no snapshots in " + path_);
  if (at == std::string::npos) return all.back().path;
  std::uint64_t number = 0;
  const std::string_view digits = std::string_view(given).substr(at + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return Error(Errc::usage, "'" + given + "': the part behind @ is no number");
  }
  const auto found = std::ranges::find(all, number, &Generation::number);
  if (found == all.end()) {
    std::vector<std::string> numbers;
    for (const Generation& each : all) numbers.push_back(std::to_string(each.number));
    return Error(Errc::not_found,
                 "job '" + job + "' has no snapshot " + std::to_string(number) + " in " + path_)
        .with_hint("it has: " + joined(numbers));
  }
  return found->path;
}

Status Store::remove(const Generation& generation) const {
  const std::string directory = parent_of(generation.path);
  const std::string hidden =
      directory + "/." + name_of(generation.path) + ".removed." + std::to_string(getpid());
  if (rename(generation.path.c_str(), hidden.c_str()) != 0) {
    const int error_number = errno;
    return Error::from_errno(error_number, "remove " + generation.path,
                             error_number == ENOENT ? Errc::not_found : Errc::storage);
  }
  return remove_directory(hidden);
}

}  // namespace crs::store
