// SPDX-License-Identifier: Apache-2.0
// Plugins: components that come as shared objects (include/crs/component.h).
//
// What this file knows
//   What a definition must hold before any of it is used: the size that it claims fits in the symbol, the
//   version of the interface is ours, no pointer that is needed is null, names and numbers are those that the
//   service could have declared itself. What does not is told and left alone; nothing of it is ever called.
// What it leaves to others
//   Whether the file may be loaded at all (plugin_file.h), what its functions mean (plugin_component.h). A
//   plugin runs inside this program: a fault in its code is one of ours.
//
// Kernel interfaces: dlopen(3), dladdr1(3).
#pragma once

#include <crs/component.h>

#include <memory>
#include <string>
#include <vector>

#include "os/result.h"
#include "service/component.h"
#include "service/plugin_file.h"

namespace crs {

// One that was loaded. It stays loaded until this program ends, whoever still uses it.
class Plugin {
 public:
  // errors: unsupported, with what is wrong with it.
  static Result<std::unique_ptr<Plugin>> load(const PluginFile& file);
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  const ComponentInfo& info() const { return info_; }  // without `make`
  const crs_component_definition& definition() const { return definition_; }
  const std::string& path() const { return path_; }

 private:
  Plugin(std::string path, const crs_component_definition& definition);
  Status take_parameters();

  std::string path_;
  crs_component_definition definition_;
  std::vector<ParameterInfo> parameters_;
  ComponentInfo info_;
};

// A definition as it was found, made whole: `object_bytes` is the size of the symbol that it is.
// errors: unsupported.
Result<crs_component_definition> read_definition(const void* object, std::size_t object_bytes,
                                                 const std::string& name);

struct Plugins {
  std::vector<std::unique_ptr<Plugin>> loaded;
  std::vector<RejectedPlugin> rejected;

  // Why the component called `name` was not loaded; null: nobody tried.
  const RejectedPlugin* rejection_of(std::string_view name) const;
};

// All on the search path whose names are not those of `built_in`; of one name the first.
Plugins load_plugins(const std::string& search_path, std::span<const ComponentInfo* const> built_in);

}  // namespace crs
