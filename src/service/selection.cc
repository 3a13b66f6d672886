// SPDX-License-Identifier: Apache-2.0
#include "service/selection.h"

#include <algorithm>

namespace crs {

namespace {

std::vector<std::string> names_of(const std::vector<LoadedComponent>& components) {
  std::vector<std::string> names;
  for (const auto& loaded : components) names.emplace_back(loaded.info->name);
  std::ranges::sort(names);
  return names;
}

Error no_such_component(std::string_view name, const std::vector<LoadedComponent>& components) {
  Error error(Errc::usage, "there is no component '" + std::string(name) + "'");
  std::string all;
  const auto names = names_of(components);
  for (const auto& one : names) all += (all.empty() ? "" : ", ") + one;
  const auto near = nearest_name(name, names);
  error.set_hint(near ? "did you mean " + *near + "?" : "there are: " + all);
  return error;
}

}  // namespace

Result<ComponentFilter> ComponentFilter::parse(std::string_view text,
                                               const std::vector<LoadedComponent>& components) {
  ComponentFilter filter;
  filter.text_ = std::string(text);
  if (text.starts_with('^')) {
    filter.exclude_ = true;
    text.remove_prefix(1);
    if (text.empty()) return Error(Errc::usage, "'^' wants names of components to leave out");
  }
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    const std::string name(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (std::ranges::none_of(components, [&](const auto& loaded) { return loaded.info->name == name; })) {
      return no_such_component(name, components);
    }
    filter.names_.push_back(name);
  }
  return filter;
}

bool ComponentFilter::admits(std::string_view name) const {
  const bool listed = std::ranges::find(names_, name) != names_.end();
  if (exclude_) return !listed;
  return names_.empty() || listed;
}

bool ComponentFilter::names(std::string_view name) const {
  return !exclude_ && std::ranges::find(names_, name) != names_.end();
}

Selection select(const std::vector<LoadedComponent>& components, const ComponentFilter& filter,
                 const Target& target) {
  Selection selection;
  for (const auto& loaded : components) {
    Candidate candidate{
        .loaded = &loaded, .excluded = !filter.admits(loaded.info->name), .report = {}, .verdict = {}};
    if (!candidate.excluded) {
      Target asked = target;
      asked.by_name = asked.by_name || filter.names(loaded.info->name);
      candidate.report = loaded.component->query(asked);
    }
    selection.candidates.push_back(std::move(candidate));
  }
  std::ranges::sort(selection.candidates, [](const Candidate& a, const Candidate& b) {
    if (a.loaded->priority != b.loaded->priority) return a.loaded->priority > b.loaded->priority;
    return std::string_view(a.loaded->info->name) < b.loaded->info->name;
  });
  for (auto& candidate : selection.candidates) {
    if (candidate.excluded) {
      candidate.verdict = "not asked: service.components is '" + filter.text() + "'";
    } else if (!candidate.report.can_serve) {
      candidate.verdict = "not chosen: " + candidate.report.reason;
    } else if (selection.chosen == nullptr) {
      selection.chosen = candidate.loaded;
      candidate.verdict = "chosen: the highest priority (" + std::to_string(candidate.loaded->priority) +
                          ") of those that can serve";
    } else if (candidate.loaded->priority == selection.chosen->priority) {
      candidate.verdict = "not chosen: as good as " + std::string(selection.chosen->info->name) +
                          ", which comes first by name";
    } else {
      candidate.verdict = "not chosen: priority " + std::to_string(candidate.loaded->priority) +
                          " is lower than " + std::to_string(selection.chosen->priority) + " of " +
                          selection.chosen->info->name;
    }
  }
  return selection;
}

Result<const LoadedComponent*> select_by_name(const std::vector<LoadedComponent>& components,
                                              const ComponentFilter& filter, std::string_view name,
                                              Target target) {
  const auto found =
      std::ranges::find_if(components, [&](const auto& loaded) { return loaded.info->name == name; });
  if (found == components.end()) return no_such_component(name, components);
  if (!filter.admits(name)) {
    return Error(Errc::unsupported, "component " + std::string(name) +
                                        " is switched off: service.components is '" + filter.text() + "'")
        .with_hint("`crs params` tells where that was set");
  }
  target.by_name = true;
  const auto report = found->component->query(target);
  if (!report.can_serve) {
    return Error(Errc::unsupported,
                 "component " + std::string(name) + " cannot serve here: " + report.reason);
  }
  return &*found;
}

}  // namespace crs
