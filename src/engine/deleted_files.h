// SPDX-License-Identifier: Apache-2.0
// Deleted files: regular files that lost their last name while the program has them open.
//
// What this file knows
//   Nobody can bring such a file back but us, so its content is saved: into the page file, a chunk at a time,
//   under a space of its own. Holes are found with SEEK_DATA and stay holes; room that was only reserved
//   (fallocate(2)) becomes a hole. A restart makes the file again in its old directory, under its old name
//   for a moment if that is free, so that /proc shows it as before; where the directory is gone too, in the
//   nearest one above it. Several descriptions, and mappings, of one file find one file again. Owner, mode
//   and times are given back when all of them are there. A file that another process has as well would be two
//   afterwards, so that is refused. A memory file (memfd_create(2)) is one that never had a name; it is
//   sealed against writing before it is mapped, and in all other ways after that.
// What it leaves to others
//   Descriptions and positions (kinds/regular_files.cc), mappings (memory_map.cc), files that have another
//   name still (refused there), memory files of huge pages (refused).
//
// Kernel interfaces: open(2) O_TMPFILE, lseek(2) SEEK_DATA, memfd_create(2), fcntl(2) F_ADD_SEALS, proc(5).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/deleted_files.pb.h"
#include "engine/resource_kind.h"

namespace crs {

// How /proc shows a memory file, before its name.
inline constexpr std::string_view memory_file_prefix = "/memfd:";

class DeletedFiles {
 public:
  static constexpr std::string_view section = "deleted_files";

  // --- Checkpoint.
  // A file open in the target at `fd`, without a name; its index. Its content is saved with the first call
  // for it (to nowhere without a writer). nullopt: a blocker was added.
  Result<std::optional<std::uint32_t>> add(CollectContext& context, RemoteFd fd, const std::string& link,
                                           const struct stat& status, std::uint32_t flags);
  // After everything was added: blockers for those that could not be read, and those that others have as
  // well.
  Status complete(CollectContext& context) const;
  Result<std::string> save() const { return to_section(state_); }

  // --- Restart.
  Status load(std::string_view bytes);
  Status check(CheckContext& context) const;
  std::uint32_t count() const { return static_cast<std::uint32_t>(state_.files_size()); }
  // In the forked copy: the file's own descriptor (for reading and writing, borrowed until finish()), made
  // and filled with the first call.
  Result<int> make(const store::SnapshotReader& snapshot, std::uint32_t index);
  // The description that made it, of one made with O_TMPFILE or in memory, after make(); empty where it
  // cannot be told from others any more.
  OwnedFd take_first(std::uint32_t index);
  // When all descriptions and mappings of them are there.
  Status finish();
  nlohmann::json describe() const;

 private:
  Status save_content(CollectContext& context, RemoteFd fd, std::uint32_t index);
  Status fill(const store::SnapshotReader& snapshot, std::uint32_t index, int fd) const;

  state::DeletedFiles state_;
  std::vector<std::pair<dev_t, ino_t>> seen_;  // by index
  std::vector<std::string> links_;             // by index; as /proc shows them
  std::vector<std::string> unread_;            // by index; why it could not be read so far, empty once it was
  std::vector<OwnedFd> made_;                  // by index
  std::vector<OwnedFd> first_;                 // by index
};

}  // namespace crs
