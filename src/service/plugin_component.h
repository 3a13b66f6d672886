// SPDX-License-Identifier: Apache-2.0
// PluginComponent: a plugin's functions as a Component.
//
// What this file knows
//   The service owns manifest and commit. A plugin writes plain files into the hidden folder; here they are
//   found, checked for what they are, and registered, so that the manifest lists them with their checksums.
//   What of the process the manifest tells is looked up here, so that all snapshots tell the same.
// What it leaves to others
//   Whether the plugin may be used (plugin.h).
#pragma once

#include <memory>

#include "service/component.h"
#include "service/plugin.h"

namespace crs {

// `plugin` must outlive it.
std::unique_ptr<Component> make_plugin_component(const Plugin& plugin, const ParameterView& values);

}  // namespace crs
