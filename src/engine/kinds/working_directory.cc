// SPDX-License-Identifier: Apache-2.0
// Working directory: where relative paths of the program start.
//
// What this file knows
//   /proc/PID/cwd leads to the directory itself, its link text is only a name: the two are compared, so that
//   a directory that was deleted, renamed away or mounted over is found. A deleted directory is empty for
//   ever and has no entry anywhere: one that is made, entered and removed is as good. It is made where the
//   old one was, if that is free, so that its name in /proc is the same. A root directory other than ours
//   (chroot(2)) is refused.
// What it leaves to others
//   Threads with a working directory of their own (sharing.cc).
//
// Kernel interfaces: proc(5), chdir(2).   Round trip: tests/targets/working_directory_*.cc
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "engine/kinds/working_directory.pb.h"
#include "engine/obstacles.h"
#include "engine/resource_kind.h"

namespace crs {
namespace {

Result<struct stat> status_of_entry(const ProcDir& proc, const std::string& name) {
  CRS_TRY(const OwnedFd fd, proc.open_entry(name, O_PATH));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return Error::from_errno(errno, "fstat of " + proc.path() + "/" + name);
  return status;
}

constexpr std::string_view deleted_mark = " (deleted)";  // the kernel's, behind the name

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

class WorkingDirectoryKind : public ResourceKind {
 public:
  Status collect(CollectContext& context) override {
    CRS_CHECK(collect_root(context));
    CRS_CHECK(collect_directory(context));
    return ok();
  }

  Result<std::string> save() const override { return to_section(state_); }

  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    if (state_.mode() > 07777)
      return Error(Errc::bad_snapshot, "the working directory has an impossible mode");
    if (!state_.path().starts_with('/') || state_.path().find('\0') != std::string::npos) {
      return Error(Errc::bad_snapshot, "the working directory has no absolute path");
    }
    return ok();
  }

  Status check(CheckContext& context) override {
    if (state_.deleted()) return ok();
    struct stat status {};
    if (stat(state_.path().c_str(), &status) != 0) {
      const int error = errno;
      context.blockers.add("working directory " + state_.path(), Error::from_errno(error, "stat").to_string(),
                           "make the directory and restart again");
    } else if (!S_ISDIR(status.st_mode)) {
      context.blockers.add("working directory " + state_.path(), "it is no directory now",
                           "put the directory back and restart again");
    } else if (access(state_.path().c_str(), X_OK) != 0) {
      const int error = errno;
      context.blockers.add("working directory " + state_.path(),
                           Error::from_errno(error, "access").to_string(),
                           "allow access to it and restart again");
    }
    return ok();
  }

  Status restore_inside(InsideContext& context) override {
    if (state_.deleted()) return enter_deleted(context.ns_pid);
    if (chdir(state_.path().c_str()) != 0) return Error::from_errno(errno, "chdir to " + state_.path());
    return ok();
  }

  nlohmann::json describe() const override {
    return state_.path() + std::string(state_.deleted() ? deleted_mark : "");
  }

 private:
  static Status collect_root(CollectContext& context) {
    CRS_TRY(const auto theirs, status_of_entry(context.target.proc(), "root"));
    struct stat ours {};
    if (stat("/", &ours) != 0) return Error::from_errno(errno, "stat of /");
    if (same_file(theirs, ours)) return ok();
    const auto path = context.target.proc().read_link("root");
    context.blockers.add("root directory " + (path ? *path : std::string()),
                         "the process runs with another root directory than crs",
                         "run crs with the same root directory");
    return ok();
  }

  Status collect_directory(CollectContext& context) {
    CRS_TRY(const auto directory, status_of_entry(context.target.proc(), "cwd"));
    const auto link = context.target.proc().read_link("cwd");
    if (!link && link.error().error_number() != ENAMETOOLONG) return link.error();
    if (!link) {
      Obstacle obstacle = too_long_a_name();
      context.blockers.add("working directory", std::move(obstacle.reason), std::move(obstacle.remedy));
      return ok();
    }
    const std::string& path = *link;
    state_.set_path(path);
    struct stat named {};
    if (directory.st_nlink == 0) {
      state_.set_deleted(true);
      state_.set_mode(directory.st_mode & 07777u);
      state_.set_uid(directory.st_uid);
      state_.set_gid(directory.st_gid);
      if (path.ends_with(deleted_mark)) state_.set_path(path.substr(0, path.size() - deleted_mark.size()));
    } else if (stat(path.c_str(), &named) != 0) {
      const int error = errno;
      context.blockers.add(
          "working directory " + path,
          "it cannot be reached by this name: " + Error::from_errno(error, "stat").to_string(),
          "run crs where it can");
    } else if (!same_file(directory, named) && !is_own_proc(path)) {
      context.blockers.add("working directory " + path, "this name leads to another directory from here",
                           "run crs where the name leads to the same directory");
    }
    return ok();
  }

  // Where the old one was, else beside it, else where everyone may.
  Status enter_deleted(NsPid pid) const {
    const std::string name = ".crs-cwd-" + to_string(pid);
    const std::string beside = std::filesystem::path(state_.path()).replace_filename(name);
    for (const std::string& path : {state_.path(), beside, "/tmp/" + name}) {
      if (mkdir(path.c_str(), 0700) != 0) continue;
      const bool entered = chdir(path.c_str()) == 0;
      const int error = errno;
      if (rmdir(path.c_str()) != 0) return Error::from_errno(errno, "rmdir of " + path);
      if (!entered) return Error::from_errno(error, "chdir to " + path);
      CRS_CHECK(give_back_owner());
      if (chmod(".", state_.mode()) != 0)
        return Error::from_errno(errno, "chmod of a deleted working directory");
      return ok();
    }
    return Error::from_errno(errno, "mkdir in place of the deleted working directory " + state_.path());
  }

  // Root restarts other people's programs, which would have no right to a directory of root's.
  Status give_back_owner() const {
    struct stat now {};
    if (!state_.has_uid() || !state_.has_gid()) return ok();
    if (stat(".", &now) == 0 && now.st_uid == state_.uid() && now.st_gid == state_.gid()) return ok();
    if (chown(".", state_.uid(), state_.gid()) == 0 || geteuid() != 0) return ok();
    return Error::from_errno(errno, "give back the owner of a deleted working directory");
  }

  // A restart without privilege mounts a /proc of its own.
  static bool is_own_proc(const std::string& path) { return path == "/proc" || path.starts_with("/proc/"); }

  state::WorkingDirectory state_;
};

}  // namespace

extern constinit const KindInfo kind_working_directory{
    .section = "working_directory", .phase = Phase::process, .make = []() -> std::unique_ptr<ResourceKind> {
      return std::make_unique<WorkingDirectoryKind>();
    }};

}  // namespace crs
