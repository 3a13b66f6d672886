// SPDX-License-Identifier: Apache-2.0
#include "service/service.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "os/file_io.h"
#include "service/plugin_component.h"

namespace crs {

namespace {

constexpr const char* path_parameter = "component_path";

constexpr ParameterInfo service_parameters[] = {
    {.name = "components",
     .type = ParameterType::text,
     .default_value = "",
     .help = "which components may serve: 'a,b' only these, '^a,b' all but these, empty all"},
    {.name = "store",
     .type = ParameterType::text,
     .default_value = "",
     .help = "the store to use when neither --store nor CRS_STORE names one"},
    {.name = "hook_limit",
     .type = ParameterType::integer,
     .default_value = "60",
     .help = "how many seconds a program's hooks, and what rebuilds its memory, may take at a time; 0: as "
             "long as "
             "--timeout lets them",
     .minimum = 0,
     .maximum = 1'000'000'000},
    {.name = "attach_debugger",
     .type = ParameterType::boolean,
     .default_value = "no",
     .help = "after a checkpoint or restart the process stands until a debugger has it (--attach-debugger)"},
    {.name = "debugger_limit",
     .type = ParameterType::integer,
     .default_value = "60",
     .help = "how many seconds a process stands when no debugger comes (--debugger-limit)",
     .minimum = 1,
     .maximum = 1'000'000'000},
};

ParameterInfo path_parameter_info(const std::string& default_value) {
  return {
      .name = path_parameter,
      .type = ParameterType::text,
      .default_value = default_value.c_str(),
      .help = "folders, separated by ':', with components that are shared objects (crs-component-NAME.so)"};
}

Status load_settings(Parameters& parameters, const Settings& settings) {
  for (const auto& file : settings.config_files) {
    auto text = read_file(file, 1u << 20);
    if (!text) {
      if (text.error().code() == Errc::not_found) continue;
      // With another user's HOME (after su or setpriv) the file cannot hold settings of ours.
      const bool of_system = file.starts_with("/etc/");
      if (text.error().code() == Errc::permission && !of_system) continue;
      return std::move(text).error();
    }
    CRS_CHECK(parameters.load_config(*text, file));
  }
  CRS_CHECK(parameters.load_environment(settings.environment));
  for (const auto& assignment : settings.assignments) CRS_CHECK(parameters.set_from_command_line(assignment));
  return ok();
}

// Looked up before all others: the plugins found there declare parameters as well.
Result<std::string> component_path(const Settings& settings) {
  const ParameterInfo infos[] = {path_parameter_info(settings.component_path)};
  Parameters first;
  first.declare("service", infos);
  first.pass_over_unknown();
  CRS_CHECK(load_settings(first, settings));
  return first.view("service").text(path_parameter);
}

// Passes on what a component tells, and each phase as a line where its parameter `verbose` asks for that.
class Narrator : public Observer {
 public:
  Narrator(Observer& observer, const LoadedComponent& component)
      : observer_(observer), name_(component.info->name), tells_(component.verbosity > 0) {}
  void phase(std::string_view name) override {
    if (tells_) {
      const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_);
      observer_.tell(name_ + ": " + std::string(name) + ", after " + std::to_string(passed.count()) + " us");
    }
    observer_.phase(name);
  }
  void progress(std::uint64_t done, std::uint64_t total) override { observer_.progress(done, total); }
  void note(std::string_view text) override { observer_.note(text); }
  void delayed(std::string_view text) override { observer_.delayed(text); }
  void tell(std::string_view line) override { observer_.tell(line); }

 private:
  using Clock = std::chrono::steady_clock;
  Observer& observer_;
  const Clock::time_point start_ = Clock::now();
  std::string name_;
  bool tells_;
};

}  // namespace

std::vector<std::string> default_config_files() {
  std::vector<std::string> files{"/etc/crs/config"};
  const char* config_home = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  if (config_home != nullptr && config_home[0] == '/') {
    files.push_back(std::string(config_home) + "/crs/config");
  } else if (home != nullptr && home[0] == '/') {
    files.push_back(std::string(home) + "/.config/crs/config");
  }
  return files;
}

void Service::declare_parameters(std::span<const ComponentInfo* const> built_in,
                                 const std::string& component_path) {
  const auto declare = [&](const ComponentInfo& info) {
    const std::string priority = std::to_string(info.priority);
    const std::string verbosity = std::to_string(info.verbosity);
    const ParameterInfo common[] = {
        {.name = "priority",
         .type = ParameterType::integer,
         .default_value = priority.c_str(),
         .help = "the highest one that can serve is chosen",
         .minimum = -1000,
         .maximum = 1000},
        {.name = "verbose",
         .type = ParameterType::integer,
         .default_value = verbosity.c_str(),
         .help = "how much it tells: 0 warnings, 1 phases as well",
         .minimum = 0,
         .maximum = 1},
    };
    parameters_->declare(info.name, common);
    parameters_->declare(info.name, info.parameters);
  };
  const ParameterInfo path[] = {path_parameter_info(component_path)};
  parameters_->declare("service", service_parameters);
  parameters_->declare("service", path);
  for (const ComponentInfo* info : built_in) declare(*info);
  for (const auto& plugin : plugins_.loaded) declare(plugin->info());
}

void Service::add_component(const ComponentInfo& info, std::unique_ptr<Component> component) {
  const auto view = parameters_->view(info.name);
  components_.push_back({.info = &info,
                         .priority = static_cast<int>(view.integer("priority")),
                         .verbosity = static_cast<int>(view.integer("verbose")),
                         .component = std::move(component)});
}

Result<Service> Service::create(std::span<const ComponentInfo* const> components, const Settings& settings) {
  Service service;
  CRS_TRY(const std::string path, component_path(settings));
  service.plugins_ = load_plugins(path, components);
  service.declare_parameters(components, settings.component_path);
  auto& parameters = *service.parameters_;
  CRS_CHECK(load_settings(parameters, settings));
  for (const ComponentInfo* info : components)
    service.add_component(*info, info->make(parameters.view(info->name)));
  for (const auto& plugin : service.plugins_.loaded)
    service.add_component(plugin->info(),
                          make_plugin_component(*plugin, parameters.view(plugin->info().name)));
  const auto& wanted = parameters.view("service").text("components");
  auto filter = ComponentFilter::parse(wanted, service.components_);
  if (!filter) return std::move(filter).error().with_context("parameter service.components");
  service.filter_ = std::move(*filter);
  return service;
}

const std::string* Service::path_of(const LoadedComponent& component) const {
  for (const auto& plugin : plugins_.loaded) {
    if (component.info == &plugin->info()) return &plugin->path();
  }
  return nullptr;
}

bool Service::is_loaded(std::string_view name) const {
  return std::ranges::any_of(components_, [&](const auto& each) { return each.info->name == name; });
}

Result<const LoadedComponent*> Service::choose(std::string_view name, const Target& target) const {
  if (const auto* rejected = plugins_.rejection_of(name); rejected != nullptr && !is_loaded(name)) {
    return Error(Errc::unsupported,
                 "component " + std::string(name) + " was not loaded: " + rejected->reason);
  }
  if (!name.empty()) return select_by_name(components_, filter_, name, target);
  const auto selection = explain(target);
  if (selection.chosen != nullptr) return selection.chosen;
  std::string why = "no component can serve:";
  for (const auto& candidate : selection.candidates) {
    why.append("\n").append(candidate.loaded->info->name).append(": ").append(candidate.verdict);
  }
  return Error(Errc::unsupported, why).with_hint("`crs components` tells more");
}

Result<const LoadedComponent*> Service::maker_of(const store::Manifest& manifest) const {
  for (const auto& loaded : components_) {
    if (loaded.info->name == manifest.component) {
      return select_by_name(components_, filter_, manifest.component, {.pid = {}, .by_name = true});
    }
  }
  const auto* rejected = plugins_.rejection_of(manifest.component);
  return Error(Errc::unsupported,
               "the snapshot was made by component '" + manifest.component + "', which " +
                   (rejected != nullptr ? "was not loaded: " + rejected->reason : "this crs does not have"))
      .with_hint(
          "`crs components` lists those that there are, `crs params service` where they are looked for");
}

namespace {

Result<SavedProcess> checkpoint_at_gate(const LoadedComponent& component, CheckpointRequest request,
                                        store::SnapshotWriter& writer, store::Manifest manifest,
                                        Observer& observer, std::chrono::seconds hook_limit) {
  CRS_TRY(auto gate, Gate::find(request.pid));
  if (!gate) return component.component->checkpoint(request, writer, std::move(manifest), observer);
  const auto tell = [&](const std::string& text) { observer.delayed(text); };
  gate->set_hook_limit(hook_limit);
  gate->set_component(component.info->name);
  request.gate = &*gate;
  auto saved = [&]() -> Result<SavedProcess> {
    CRS_CHECK(gate->hooks().prepare(request.deadline, hook_limit, tell));
    CRS_CHECK(gate->await_open(request.deadline, tell));
    return component.component->checkpoint(request, writer, std::move(manifest), observer);
  }();
  if (saved) {
    gate->release();
  } else {
    gate->hooks().failed();
  }
  return saved;
}

}  // namespace

std::chrono::seconds Service::hook_limit() const {
  return std::chrono::seconds(parameters_->view("service").integer("hook_limit"));
}

Outcome Service::checkpoint(const LoadedComponent& component, const CheckpointRequest& request,
                            store::SnapshotWriter& writer, store::Manifest manifest, Observer& observer) {
  if (auto entered = states_->enter(State::checkpoint); !entered) return std::move(entered).error();
  manifest.component = component.info->name;
  manifest.crs_version = CRS_VERSION;
  Narrator narrator(observer, component);
  auto saved = checkpoint_at_gate(component, request, writer, std::move(manifest), narrator, hook_limit());
  if (!saved) {
    states_->fail();
    (void)states_->enter(State::running);  // legal from ERROR: the process goes on
    return std::move(saved).error();
  }
  Continued continued{std::move(*saved), request.after};
  const bool ends = request.after == AfterCheckpoint::terminate;
  if (auto entered = states_->enter(ends ? State::term : State::continue_); !entered)
    return std::move(entered).error();
  if (auto entered = states_->enter(ends ? State::none : State::running); !entered)
    return std::move(entered).error();
  return continued;
}

Outcome Service::restart(const store::SnapshotReader& snapshot, const RestartRequest& request,
                         Observer& observer) {
  auto maker = maker_of(snapshot.manifest());
  if (!maker) return std::move(maker).error();
  if (auto entered = states_->enter(State::restart); !entered) return std::move(entered).error();
  Narrator narrator(observer, **maker);
  RestartRequest complete = request;
  complete.hook_limit = hook_limit();
  auto info = (*maker)->component->restart(snapshot, complete, narrator);
  if (!info) {
    states_->fail();
    (void)states_->enter(State::none);  // legal from ERROR
    return std::move(info).error();
  }
  if (auto entered = states_->enter(State::running); !entered) return std::move(entered).error();
  return Restarted{std::move(*info)};
}

Error Service::restart_in_place(const store::SnapshotReader& snapshot, const RestartRequest& request,
                                bool verified, const InPlaceTold& told, Observer& observer) {
  CRS_TRY(const LoadedComponent* maker, maker_of(snapshot.manifest()));
  CRS_CHECK(states_->enter(State::restart));
  Narrator narrator(observer, *maker);
  RestartRequest complete = request;
  complete.hook_limit = hook_limit();
  Error error = maker->component->restart_in_place(snapshot, complete, verified, told, narrator);
  states_->fail();
  (void)states_->enter(State::none);  // legal from ERROR
  return error;
}

Result<RolledBack> Service::rollback(const store::SnapshotReader& snapshot, const RollbackRequest& wanted,
                                     Observer& observer) {
  CRS_TRY(const LoadedComponent* maker, maker_of(snapshot.manifest()));
  Narrator narrator(observer, *maker);
  RollbackRequest request = wanted;
  request.hook_limit = hook_limit();
  CRS_TRY(auto gate, Gate::find(request.pid));
  if (gate) {
    CRS_CHECK(gate->await_open(request.deadline, [&](const std::string& text) { narrator.delayed(text); }));
    request.gate = &*gate;
  }
  return maker->component->rollback(snapshot, request, narrator);
}

}  // namespace crs
