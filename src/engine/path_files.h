// SPDX-License-Identifier: Apache-2.0
// Path files: the common half of kinds whose files are nothing but a path and flags.
//
// What this file knows
//   A restart opens the same path again; type and device number must be what they were.
//   A directory, device or symbolic link that was deleted while it is open holds nothing: one that is made,
//   opened and removed is as good. It is made where the old one was, so that its name in /proc is the same,
//   or, where that name is taken, under a hidden one. Parents that are gone as well are made for that moment.
//   One that is also the working directory is opened as such (working_directory.cc comes first). Whoever
//   restarts without privilege can make only what is his own, and no devices.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "engine/kinds/special_files.pb.h"
#include "engine/resource_kind.h"

namespace crs {

class PathFilesKind : public ResourceKind {
 public:
  Status collect(CollectContext&) override { return ok(); }
  Status collect_file(CollectContext& context, const OpenFile& file) override;
  Result<std::string> save() const override { return to_section(state_); }
  Status load(std::string_view bytes) override;
  Status check(CheckContext& context) override;
  Result<OwnedFd> restore_file(InsideContext& context, std::uint32_t id) override;
  nlohmann::json describe() const override;

 protected:
  virtual std::uint32_t allowed_flags() const;
  // Whether one of this type and device number can be made anew.
  virtual bool can_be_made(std::uint32_t mode, std::uint64_t device) const = 0;
  virtual Status after_open(int, const state::PathFile&) { return ok(); }

 private:
  using Identity = std::pair<std::uint64_t, std::uint64_t>;  // file system, inode
  bool collect_deleted(CollectContext& context, const OpenFile& file, state::PathFile& saved) const;
  Result<OwnedFd> open_deleted(InsideContext& context, const state::PathFile& file);

  state::PathFiles state_;
  std::map<Identity, OwnedFd> made_;
};

}  // namespace crs
