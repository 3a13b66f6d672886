// SPDX-License-Identifier: Apache-2.0
#include "service/plugin.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace crs {
namespace {

constexpr const char* symbol_name = "crs_component";
constexpr std::size_t most_parameters = 64;
constexpr std::size_t longest_text = 1024;

Error wrong(std::string message) {
  return {Errc::unsupported, std::move(message)};
}

// A pointer of somebody else's to what is a text as we can use it.
Status check_text(const char* text, const std::string& what, bool may_be_empty = false) {
  if (text == nullptr) return wrong("its " + what + " is missing");
  const std::size_t length = strnlen(text, longest_text + 1);
  if (length > longest_text) return wrong("its " + what + " is too long");
  if (length == 0 && !may_be_empty) return wrong("its " + what + " is empty");
  return ok();
}

// "2.0.0": the same major number, and no minor one that came after ours.
Status check_interface(const char* text) {
  unsigned theirs[3] = {}, ours[3] = {};
  char rest = 0;
  const auto parse = [&](const char* from, unsigned(&into)[3]) {
    return std::sscanf(from, "%u.%u.%u%c", &into[0], &into[1], &into[2], &rest) == 3;  // NOLINT: checked
  };
  parse(CRS_COMPONENT_INTERFACE, ours);
  if (parse(text, theirs) && theirs[0] == ours[0] && theirs[1] <= ours[1]) return ok();
  return wrong("it is of interface version " + std::string(text) +
               ", and this crs has " CRS_COMPONENT_INTERFACE);
}

Status check_default(const crs_component_parameter& given) {
  const std::string name = given.name;
  switch (given.type) {
    case CRS_COMPONENT_BOOLEAN:
      if (!parse_boolean(given.default_value))
        return wrong("the default of its parameter " + name + " is neither yes nor no");
      return ok();
    case CRS_COMPONENT_INTEGER: {
      const auto number = parse_integer(given.default_value);
      if (!number || *number < given.minimum || *number > given.maximum)
        return wrong("the default of its parameter " + name + " is no number in its range");
      return ok();
    }
    case CRS_COMPONENT_TEXT: return ok();
    default: return wrong("its parameter " + name + " is of no known type");
  }
}

// The symbol's own size says how much of a definition may be read.
Result<crs_component_definition> find_definition(void* library, const std::string& name) {
  const void* const object = dlsym(library, symbol_name);
  if (object == nullptr) return wrong("it exports no symbol " + std::string(symbol_name));
  Dl_info place{};
  void* entry = nullptr;
  if (dladdr1(object, &place, &entry, RTLD_DL_SYMENT) == 0 || entry == nullptr)
    return wrong("its symbol " + std::string(symbol_name) + " is not to be found");
  const auto& symbol = *static_cast<const ElfW(Sym)*>(entry);
  if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT)
    return wrong("its symbol " + std::string(symbol_name) + " is no constant");
  return read_definition(object, symbol.st_size, name);
}

}  // namespace

Result<crs_component_definition> read_definition(const void* object, std::size_t object_bytes,
                                                 const std::string& name) {
  std::size_t size = 0;
  if (object_bytes < sizeof size) return wrong("its definition is cut short");
  std::memcpy(&size, object, sizeof size);
  // No version of the interface has fewer fields than the first one.
  if (size < sizeof(crs_component_definition) || size > object_bytes) {
    return wrong("its definition is cut short: it claims " + std::to_string(size) + " bytes, has " +
                 std::to_string(object_bytes) + " and needs " +
                 std::to_string(sizeof(crs_component_definition)));
  }
  crs_component_definition definition{};
  std::memcpy(&definition, object, sizeof definition);
  CRS_CHECK(check_text(definition.type, "type"));
  if (std::strcmp(definition.type, CRS_COMPONENT_TYPE) != 0)
    return wrong("it is a component of type '" + std::string(definition.type) + "', not " CRS_COMPONENT_TYPE);
  CRS_CHECK(check_text(definition.interface_version, "interface version"));
  CRS_CHECK(check_interface(definition.interface_version));
  CRS_CHECK(check_text(definition.name, "name"));
  if (name != definition.name)
    return wrong("it calls itself '" + std::string(definition.name) + "', and its file does not");
  CRS_CHECK(check_text(definition.version, "version"));
  CRS_CHECK(check_text(definition.summary, "summary"));
  if (definition.priority < -1000 || definition.priority > 1000)
    return wrong("its priority " + std::to_string(definition.priority) + " is not between -1000 and 1000");
  if (definition.verbosity != 0 && definition.verbosity != 1)
    return wrong("its verbosity is neither 0 nor 1");
  if (definition.query == nullptr || definition.checkpoint == nullptr || definition.restart == nullptr)
    return wrong("a function that it needs is missing (query, checkpoint, restart)");
  return definition;
}

Plugin::Plugin(std::string path, const crs_component_definition& definition)
    : path_(std::move(path)), definition_(definition) {
  info_.interface_version = definition_.interface_version;
  info_.name = definition_.name;
  info_.version = definition_.version;
  info_.priority = definition_.priority;
  info_.verbosity = definition_.verbosity;
  info_.summary = definition_.summary;
}

Status Plugin::take_parameters() {
  if (definition_.parameter_count == 0) return ok();
  if (definition_.parameters == nullptr || definition_.parameter_count > most_parameters)
    return wrong("its list of parameters is missing or too long");
  if (definition_.parameter_size < sizeof(crs_component_parameter))
    return wrong("its parameters are cut short");
  const auto* at = reinterpret_cast<const char*>(definition_.parameters);
  for (std::size_t i = 0; i < definition_.parameter_count; ++i, at += definition_.parameter_size) {
    crs_component_parameter given{};
    std::memcpy(&given, at, sizeof given);
    CRS_CHECK(check_text(given.name, "parameter's name"));
    const std::string name = given.name;
    const bool taken = name == "priority" || name == "verbose" ||
                       std::ranges::any_of(parameters_, [&](const auto& each) { return name == each.name; });
    if (!valid_plugin_name(name) || taken)
      return wrong("'" + name + "' is no name for a parameter of its own");
    CRS_CHECK(check_text(given.default_value, "default of " + name, true));
    CRS_CHECK(check_text(given.help, "help of " + name));
    CRS_CHECK(check_default(given));
    parameters_.push_back({.name = given.name,
                           .type = given.type == CRS_COMPONENT_BOOLEAN   ? ParameterType::boolean
                                   : given.type == CRS_COMPONENT_INTEGER ? ParameterType::integer
                                                                         : ParameterType::text,
                           .default_value = given.default_value,
                           .help = given.help,
                           .minimum = given.minimum,
                           .maximum = given.maximum});
  }
  info_.parameters = parameters_;
  return ok();
}

Result<std::unique_ptr<Plugin>> Plugin::load(const PluginFile& file) {
  void* const library = dlopen(file.path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* const why = dlerror();
    return wrong(why != nullptr ? why : "it cannot be loaded");
  }
  CRS_TRY(const auto definition, find_definition(library, file.name));
  std::unique_ptr<Plugin> plugin(new Plugin(file.path, definition));
  CRS_CHECK(plugin->take_parameters());
  return plugin;
}

const RejectedPlugin* Plugins::rejection_of(std::string_view name) const {
  const auto found = std::ranges::find(rejected, name, &RejectedPlugin::name);
  return found != rejected.end() && !name.empty() ? &*found : nullptr;
}

Plugins load_plugins(const std::string& search_path, std::span<const ComponentInfo* const> built_in) {
  Plugins plugins;
  PluginFiles files = find_plugin_files(search_path);
  plugins.rejected = std::move(files.rejected);
  for (const PluginFile& file : files.usable) {
    const auto reject = [&](std::string reason) {
      plugins.rejected.push_back({file.name, file.path, std::move(reason)});
    };
    const bool ours = file.name == "service" || std::ranges::any_of(built_in, [&](const ComponentInfo* each) {
                        return file.name == each->name;
                      });
    const auto first = std::ranges::find_if(plugins.loaded,
                                            [&](const auto& each) { return file.name == each->info().name; });
    if (ours) {
      reject("crs has a " + file.name + " of its own");
    } else if (first != plugins.loaded.end()) {
      reject("one of that name was loaded from " + (*first)->path());
    } else if (auto plugin = Plugin::load(file)) {
      plugins.loaded.push_back(std::move(*plugin));
    } else {
      reject(plugin.error().to_string());
    }
  }
  return plugins;
}

}  // namespace crs
