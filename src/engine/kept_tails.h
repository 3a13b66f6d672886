// SPDX-License-Identifier: Apache-2.0
// Kept tails: what a restart cuts off the files that the program writes, kept beside the snapshot.
//
// What this file knows
//   They lie in a folder "tails" beside the snapshot, each with a text file that tells where it belongs.
//   Others may be able to write beside the snapshot (/tmp), so the folder must be a real one, our own, and
//   nobody else's to write to. Where "tails" is not, it is "tails-UID", or the next free name after that.
//   Until the cut nothing is lost, so one that cannot be kept whole is removed again.
//
// Kernel interfaces: openat(2) O_NOFOLLOW, mkdirat(2), fsync(2).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "os/owned_fd.h"
#include "os/result.h"

namespace crs {

class KeptTails {
 public:
  explicit KeptTails(std::string snapshot) : snapshot_(std::move(snapshot)) {}
  KeptTails(const KeptTails&) = delete;
  KeptTails& operator=(const KeptTails&) = delete;
  ~KeptTails();  // removes them, unless they are needed

  // Bytes `from` to `to` of the file open for reading at `fd`, durable; the path under which they are kept.
  Result<std::string> keep(int fd, const std::string& path, std::uint64_t from, std::uint64_t to);
  // Something was cut: all of them stay.
  void stay() { names_.clear(); }

 private:
  Status open_folder();
  Result<OwnedFd> make(const std::string& file_name, std::string& name);

  std::string snapshot_;
  std::string folder_path_;
  OwnedFd folder_;
  std::vector<std::string> names_;  // in the folder; made by us and not needed yet
};

}  // namespace crs
