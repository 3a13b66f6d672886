// SPDX-License-Identifier: Apache-2.0
// Path files: the common half of kinds whose files are nothing but a path and flags.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <string>

#include "engine/kinds/special_files.pb.h"
#include "engine/resource_kind.h"

namespace crs {

class PathFilesKind : public ResourceKind {
 public:
  Status collect(CollectContext&) override { return ok(); }
  Status collect_file(CollectContext& context, const OpenFile& file) override {
    state::PathFile saved;
    saved.set_id(file.id);
    saved.set_path(file.path);
    saved.set_flags(file.flags & ~static_cast<std::uint32_t>(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY));
    saved.set_position(file.position);
    saved.set_inode(file.status.st_ino);
    struct stat named {};
    const bool same = lstat_or_stat(file, named) == 0 && named.st_ino == file.status.st_ino;
    if (!same) {
      context.blockers.add("fd " + std::to_string(file.fds.front().v) + " (" + file.path + ")",
                           "it was deleted or renamed while the program has it open",
                           "give it its name back");
    }
    *state_.add_files() = std::move(saved);
    return ok();
  }
  Result<std::string> save() const override { return to_section(state_); }
  Status load(std::string_view bytes) override {
    CRS_CHECK(from_section(bytes, state_));
    for (const auto& file : state_.files()) {
      if (file.path().empty() || file.path()[0] != '/' || file.path().find('\0') != std::string::npos) {
        return Error(Errc::bad_snapshot, "an open file has an impossible path");
      }
      if ((file.flags() & ~allowed_flags()) != 0)
        return Error(Errc::bad_snapshot, file.path() + ": unknown flags");
    }
    return ok();
  }
  Status check(CheckContext& context) override {
    for (const auto& file : state_.files()) {
      struct stat now {};
      if (context.is_replaced(file.id()) ||
          fstatat(AT_FDCWD, file.path().c_str(), &now, AT_SYMLINK_NOFOLLOW) == 0)
        continue;
      context.blockers.add(file.path(), "the program has it open, and it is not there any more",
                           "put it back");
    }
    return ok();
  }
  Result<OwnedFd> restore_file(InsideContext&, std::uint32_t id) override {
    const auto found =
        std::ranges::find_if(state_.files(), [id](const auto& file) { return file.id() == id; });
    if (found == state_.files().end()) return Error(Errc::bad_snapshot, "an open file is missing");
    CRS_TRY(OwnedFd fd, open_file(found->path(), static_cast<int>(found->flags()) | O_NOCTTY));
    CRS_CHECK(after_open(fd.get(), *found));
    return fd;
  }
  nlohmann::json describe() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& file : state_.files()) list.push_back({{"path", file.path()}});
    return list;
  }

 protected:
  virtual std::uint32_t allowed_flags() const {
    return O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_LARGEFILE | O_NOATIME | O_SYNC;
  }
  virtual Status after_open(int, const state::PathFile&) { return ok(); }

 private:
  static int lstat_or_stat(const OpenFile& file, struct stat& named) {
    const bool link = S_ISLNK(file.status.st_mode);
    return fstatat(AT_FDCWD, file.path.c_str(), &named, link ? AT_SYMLINK_NOFOLLOW : 0);
  }
  state::PathFiles state_;
};

}  // namespace crs
