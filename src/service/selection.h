// SPDX-License-Identifier: Apache-2.0
// Selection: which component serves, and why.
//
// What this file knows
//   The filter is "a,b" (only these), "^a,b" (all but these) or empty (all); a name in it that no component
//   has is an error, never ignored. Of those left, the one with the highest priority whose query() says that
//   it can serve wins; equal priorities go by name, so the answer never depends on the order in which
//   components were found. A component asked for by name is taken or is an error: no other one steps in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "os/result.h"
#include "service/component.h"

namespace crs {

// A component that exists in this program.
struct LoadedComponent {
  const ComponentInfo* info = nullptr;
  int priority = 0;   // after parameters
  int verbosity = 0;  // the same; 1: each phase is told
  std::unique_ptr<Component> component;
};

struct Candidate {
  const LoadedComponent* loaded = nullptr;
  bool excluded = false;    // by the filter; then it was not asked
  CapabilityReport report;  // when it was asked
  std::string verdict;      // "chosen: ...", "not chosen: ..."
};

struct Selection {
  const LoadedComponent* chosen = nullptr;  // null: nobody can serve
  std::vector<Candidate> candidates;        // by priority, then name
};

class ComponentFilter {
 public:
  // errors: usage, with the nearest name.
  static Result<ComponentFilter> parse(std::string_view text, const std::vector<LoadedComponent>& components);
  bool admits(std::string_view name) const;
  bool names(std::string_view name) const;  // included by name
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool exclude_ = false;
  std::vector<std::string> names_;
};

// All of them asked, with explanation.
Selection select(const std::vector<LoadedComponent>& components, const ComponentFilter& filter,
                 const Target& target);

// The one called `name`. errors: usage (no such component), unsupported (excluded, or it cannot serve: why).
Result<const LoadedComponent*> select_by_name(const std::vector<LoadedComponent>& components,
                                              const ComponentFilter& filter, std::string_view name,
                                              Target target);

}  // namespace crs
