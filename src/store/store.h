// The store: jobs, and the generations of each.
//
// What this file knows
//   STORE/JOB/000007 is generation 7 of JOB. `latest` is by commit order (the number), never by time. A
//   hidden directory is no generation. A job's name is one path component: letters, digits, '.', '_', '-',
//   '+', not starting with '.'. Default place: $CRS_STORE, else $XDG_STATE_HOME/crs, else ~/.local/state/crs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "os/result.h"
#include "store/snapshot.h"

namespace crs::store {

struct Generation {
  std::string job;
  std::uint64_t number = 0;
  std::string path;         // absolute
  std::uint64_t bytes = 0;  // on disk
};

class Store {
 public:
  static std::string default_path();
  // Makes the directory (0700) where it is missing, when `create`. errors: permission, storage, not_found.
  static Result<Store> open(const std::string& path, bool create);

  const std::string& path() const { return path_; }
  Result<std::vector<std::string>> jobs() const;
  Result<std::vector<Generation>> generations(std::string_view job) const;  // ascending; only committed ones
  // A writer for the next generation of the job. Two writers at once get different numbers (the job's
  // directory, held by flock(2), serialises the choice).
  Result<SnapshotWriter> begin(std::string_view job, const PageFileOptions& options) const;
  // Removes the job's directory if there is nothing in it, as after a refused checkpoint.
  void forget_if_empty(std::string_view job) const;
  // "JOB" (its latest), "JOB@N", or a path to a snapshot directory (anything with a '/' or that exists as a
  // directory with a manifest.json). errors: not_found naming what was looked for and where.
  Result<std::string> resolve(std::string_view name) const;
  Status remove(const Generation& generation) const;  // renamed into hiding first, then deleted

  static bool valid_job_name(std::string_view name);

 private:
  explicit Store(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace crs::store
