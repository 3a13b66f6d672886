// SPDX-License-Identifier: Apache-2.0
// Service: the framework around the checkpointers: parameters, selection, states, one outcome per operation.
//
// What this file knows
//   The sequence of an operation: choose a component, change state, let the component work, change state,
//   answer. A snapshot is restarted by the component that made it, never by another one. Several services may
//   exist in one program; each is used by one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "os/result.h"
#include "service/component.h"
#include "service/outcome.h"
#include "service/parameters.h"
#include "service/plugin.h"
#include "service/selection.h"
#include "service/states.h"

namespace crs {

// Where settings come from. Made by main(), so that a test can use others.
struct Settings {
  std::vector<std::string> assignments;      // --param OWNER.NAME=VALUE
  const char* const* environment = nullptr;  // environ(7)
  std::vector<std::string> config_files;     // the more general first; a missing one is passed over
  std::string component_path = {};           // the default of service.component_path; empty: no plugins
};

// The config files of this user: /etc/crs/config, then $XDG_CONFIG_HOME/crs/config or ~/.config/crs/config.
std::vector<std::string> default_config_files();

class Service {
 public:
  // errors: usage (an unknown parameter or a wrong value, wherever it was set).
  static Result<Service> create(std::span<const ComponentInfo* const> components, const Settings& settings);

  const Parameters& parameters() const { return *parameters_; }
  const std::vector<LoadedComponent>& components() const { return components_; }
  // Shared objects on the search path: where a loaded component came from (null: it is built in), and those
  // that are not used.
  const std::string* path_of(const LoadedComponent& component) const;
  const std::vector<RejectedPlugin>& rejected_plugins() const { return plugins_.rejected; }
  const StateMachine& states() const { return *states_; }

  // What would be chosen, and why.
  Selection explain(const Target& target) const { return select(components_, filter_, target); }
  // The component for a new checkpoint: the one called `name`, or if that is empty the best one.
  // errors: usage, unsupported with everybody's reason.
  Result<const LoadedComponent*> choose(std::string_view name, const Target& target) const;
  // The component that made the snapshot. errors: unsupported.
  Result<const LoadedComponent*> maker_of(const store::Manifest& manifest) const;

  // `manifest` comes with job and generation.
  Outcome checkpoint(const LoadedComponent& component, const CheckpointRequest& request,
                     store::SnapshotWriter& writer, store::Manifest manifest, Observer& observer);
  Outcome restart(const store::SnapshotReader& snapshot, const RestartRequest& request, Observer& observer);
  // See Component. Both by the component that made the snapshot.
  Error restart_in_place(const store::SnapshotReader& snapshot, const RestartRequest& request, bool verified,
                         const InPlaceTold& told, Observer& observer);
  Result<RolledBack> rollback(const store::SnapshotReader& snapshot, const RollbackRequest& request,
                              Observer& observer);

 private:
  Service() = default;
  void declare_parameters(std::span<const ComponentInfo* const> built_in, const std::string& component_path);
  bool is_loaded(std::string_view name) const;
  std::chrono::seconds hook_limit() const;
  void add_component(const ComponentInfo& info, std::unique_ptr<Component> component);
  std::unique_ptr<Parameters> parameters_ = std::make_unique<Parameters>();
  Plugins plugins_;
  std::vector<LoadedComponent> components_;
  ComponentFilter filter_;
  std::unique_ptr<StateMachine> states_ = std::make_unique<StateMachine>();
};

}  // namespace crs
