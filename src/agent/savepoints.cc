// SPDX-License-Identifier: Apache-2.0
#include "agent/savepoints.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "os/owned_fd.h"
#include "os/proc.h"

namespace crs::agent {
namespace {

constexpr std::size_t start_time_field = 22;

std::uint64_t last_number = 0;
pid_t cleaner = 0;  // the process that removes its folder at its end; a forked child is another one

// Only its owner can enter it, and that is us.
bool is_private_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return false;
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
         (status.st_mode & 077) == 0;
}

Result<std::string> find_base() {
  std::vector<std::string> candidates{"/dev/shm/crs-" + std::to_string(geteuid())};
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') candidates.push_back(std::string(runtime) + "/crs-savepoints");
  for (const std::string& candidate : candidates) {
    if (is_private_folder(candidate)) return candidate;
  }
  return Error(Errc::storage, "there is no place in memory for save points: " + candidates.front() +
                                  " cannot be made, or is somebody else's")
      .with_hint("mount a tmpfs at /dev/shm, or set XDG_RUNTIME_DIR to a directory of your own");
}

std::string own_namespace() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? std::to_string(status.st_ino) : "0";
}

std::optional<std::uint64_t> start_of(Pid pid) {
  const auto proc = ProcDir::open(pid);
  const auto stat = proc ? proc->stat() : Result<ProcStat>(Error(proc.error()));
  if (!stat) return std::nullopt;
  return stat->field(start_time_field);
}

std::string folder_name(Pid pid, std::uint64_t start) {
  return own_namespace() + "-" + std::to_string(pid.v) + "-" + std::to_string(start);
}

Result<std::string> find_own_folder() {
  CRS_TRY(const std::string base, find_base());
  const auto start = start_of(Pid(getpid()));
  if (!start) return Error(Errc::unsupported, "/proc does not show this process");
  return base + "/" + folder_name(Pid(getpid()), *start);
}

// Of processes of this pid namespace that are gone.
void remove_leftovers(const std::string& base) {
  std::error_code problem;
  const std::string ours = own_namespace() + "-";
  for (const auto& entry : std::filesystem::directory_iterator(base, problem)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(ours)) continue;
    const auto pid = parse_number(name.substr(ours.size(), name.find('-', ours.size()) - ours.size()));
    if (!pid) continue;
    const Pid its(static_cast<pid_t>(*pid));
    const auto start = start_of(its);
    std::error_code ignored;
    if (!start || folder_name(its, *start) != name) std::filesystem::remove_all(entry.path(), ignored);
  }
}

// The process that holds the memory of a save point, if it has one: so the snapshot says.
void end_keeper(const std::filesystem::path& savepoint) {
  const auto text = read_file((savepoint / "manifest.json").string());
  if (!text) return;
  const auto manifest = nlohmann::json::parse(*text, nullptr, false);
  const nlohmann::json::json_pointer place("/component_data/native/memory_keeper");
  if (!manifest.is_object() || !manifest.contains(place)) return;
  const auto& keeper = manifest.at(place);
  if (!keeper.is_object()) return;
  const Pid pid(keeper.value("pid", 0));
  if (pid.v <= 1) return;
  const OwnedFd process(static_cast<int>(syscall(SYS_pidfd_open, pid.v, 0)));
  if (!process || start_of(pid) != keeper.value("started", std::uint64_t{0})) return;
  syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
}

void remove_own_folder() {
  if (cleaner != getpid()) return;
  const auto folder = find_own_folder();
  std::error_code ignored;
  if (folder) std::filesystem::remove_all(*folder, ignored);
}

}  // namespace

Result<std::string> next_savepoint() {
  CRS_TRY(const std::string folder, find_own_folder());
  if (cleaner != getpid()) {
    remove_leftovers(std::filesystem::path(folder).parent_path());
    if (cleaner == 0) std::atexit(remove_own_folder);
    cleaner = getpid();
  }
  if (!is_private_folder(folder)) return Error::from_errno(errno, "make " + folder, Errc::storage);
  return folder + "/" + std::to_string(++last_number);
}

void forget_younger_savepoints(const std::string& path) {
  const std::filesystem::path mine(path);
  const auto own = parse_number(mine.filename().string());
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(mine.parent_path(), problem)) {
    const auto number = parse_number(entry.path().filename().string());
    std::error_code ignored;
    if (number && own && *number <= *own) continue;
    end_keeper(entry.path());
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

Status remove_savepoint(const std::string& path) {
  end_keeper(path);
  std::error_code problem;
  std::filesystem::remove_all(path, problem);
  if (problem) return Error::from_errno(problem.value(), "remove " + path, Errc::storage);
  return ok();
}

}  // namespace crs::agent
