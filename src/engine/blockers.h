// Blockers: everything that stands in the way of a checkpoint or a restart, collected in one walk.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/result.h"

namespace crs {

// Filled by collect() and check(); the walk goes on after each, so that one run lists them all. A note is
// something the user should know that does not prevent anything ("CPU time starts from zero").
class Blockers {
 public:
  void add(std::string object, std::string reason, std::string remedy) {
    list_.push_back({kind_, std::move(object), std::move(reason), std::move(remedy)});
  }
  // Whose walk it is from here on: the kind of all that is added.
  void set_kind(std::string_view kind) { kind_ = kind; }
  void note(std::string text) { notes_.push_back(std::move(text)); }

  bool empty() const { return list_.empty(); }
  const std::vector<Blocker>& list() const { return list_; }
  const std::vector<std::string>& notes() const { return notes_; }
  // Errc::refused with one line per blocker, or ok.
  Status to_status(const std::string& what) const;

 private:
  std::string kind_;
  std::vector<Blocker> list_;
  std::vector<std::string> notes_;
};

}  // namespace crs
